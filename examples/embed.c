/* Prints how alike each text is to the first: those of the command line, or three sentences.
 *
 *     cc embed.c $(pkg-config --cflags --libs embellama) -o embed
 *     ./embed ~/.cache/embellama/models/all-MiniLM-L6-v2 "a cat on a mat" "a kitten lies on the rug" "stocks fell" */
#include <embellama/embellama.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *sentences[] = {"a cat on a mat", "a kitten lies on the rug", "stocks fell sharply"};

int main(int argc, char **argv)
{
    embellama_model *model = NULL; /* the weights: open once, share among threads */
    embellama_ctx *ctx = NULL;     /* scratch memory and threads: one for each caller at a time */
    embellama_error error;
    if (argc < 2) {
        fprintf(stderr, "usage: %s MODEL [TEXT...]\n", argv[0]);
        return 2;
    }
    if (embellama_model_open(&model, argv[1], NULL, &error) != EMBELLAMA_OK ||
        embellama_ctx_new(&ctx, model, NULL, &error) != EMBELLAMA_OK) {
        fprintf(stderr, "%s\n", error.message);
        embellama_model_close(model);
        return 1;
    }

    char **strings = argc > 2 ? argv + 2 : sentences;
    size_t n = argc > 2 ? (size_t)argc - 2 : 3, dim = embellama_dim(model);
    embellama_text *texts = calloc(n, sizeof *texts);
    float *vectors = calloc(n * dim, sizeof *vectors);
    int status = EMBELLAMA_E_NOMEM;
    if (texts && vectors) {
        for (size_t i = 0; i < n; i++) {
            texts[i] = (embellama_text){strings[i], strlen(strings[i])};
        }
        embellama_embed_options options = embellama_embed_options_default();
        options.truncate = true; /* shorten what is too long, rather than fail */
        status = embellama_embed(ctx, texts, n, &options, vectors, NULL, &error);
        if (status != EMBELLAMA_OK) {
            fprintf(stderr, "%s\n", error.message);
        }
    }
    for (size_t i = 0; i < n && status == EMBELLAMA_OK; i++) {
        printf("%.4f  %s\n", (double)embellama_cosine(vectors, vectors + i * dim, dim), strings[i]);
    }

    free(vectors);
    free(texts);
    embellama_ctx_free(ctx);
    embellama_model_close(model);
    return status == EMBELLAMA_OK ? 0 : 1;
}
