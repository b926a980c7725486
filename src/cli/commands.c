/* The table of commands. */
#include "cli/cli.h"

#include <stddef.h>
#include <string.h>

const struct emb_cli_command emb_cli_commands[] = {
    {"embed", EMB_CLI_EMBED, "[OPTION...] [TEXT...]", "Turn texts into vectors.",
     "Embeds each TEXT, or each line of --input FILE, and writes one vector a text, in order. Input is\n"
     "read as it is needed: it may be larger than memory, or a pipe that never ends.\n"
     "\n"
     "A text with more tokens than the model takes is an error, unless --truncate allows to shorten it.\n"
     "At the first text that cannot be embedded the command stops: every vector before it is written,\n"
     "and the message names its line. Lines of --input-format jsonl that are blank hold no object and\n"
     "are passed over; a blank line of text is the empty text.\n"
     "\n"
     "With --pooling none each token gives a vector: jsonl adds the tokens, npy and f32 hold the rows\n"
     "of all texts one after another.\n",
     "  embellama embed 'What is Deep Learning?'\n"
     "  embellama embed --input docs.jsonl --input-format jsonl --field body -o docs.npy --output-format npy\n"
     "  embellama embed -i huge.txt -o huge.npy --output-format npy --truncate --resume\n",
     emb_cli_embed},
    {"tokenize", EMB_CLI_TOKENIZE, "[OPTION...] [TEXT...]", "Show the tokens of texts.",
     "Prints one {\"ids\": [...], \"tokens\": [...]} a line for each TEXT, or each line of --input FILE,\n"
     "special tokens included, never truncated. With --decode the texts are lists of token ids, and each\n"
     "gives one {\"text\": ...}.\n",
     "  embellama tokenize 'unaffable'\n"
     "  embellama tokenize --decode '101 2054 2003 102'\n"
     "  embellama tokenize --input docs.jsonl --input-format jsonl | head -3\n",
     emb_cli_tokenize},
    {"similarity", EMB_CLI_SIMILARITY, "[OPTION...] A B", "Compare two texts.",
     "Prints the cosine of the angle between the vectors of A and B: 1 for the same direction, around 0\n"
     "for texts that have nothing in common.\n",
     "  embellama similarity 'a cat on a mat' 'a kitten lies on the rug'\n", emb_cli_similarity},
    {"rerank", EMB_CLI_RERANK, "[OPTION...] --query TEXT MODEL [FILE...]",
     "Rank documents by how well they answer a query.",
     "Scores each line of the FILEs, or of standard input, together with the query, and prints the scores\n"
     "and places of the documents, best first. MODEL is a cross-encoder: a model that reads two texts at\n"
     "once and gives their relevance, such as those of the ms-marco family.\n"
     "\n"
     "A pair with more tokens than the model takes is an error, unless --truncate allows to shorten the\n"
     "longer text of it.\n",
     "  embellama rerank --query 'capital of France' ./ms-marco-MiniLM-L6-v2 passages.txt\n"
     "  embellama rerank -q 'capital of France' --json --top-n 3 --return-documents ./reranker < passages.txt\n"
     "  embellama rerank -q rust --truncate --input-format jsonl --field body ./reranker a.jsonl b.jsonl\n",
     emb_cli_rerank},
    {"inspect", EMB_CLI_INSPECT, "[OPTION...] [MODEL]", "Show what a model is and what will run it.",
     "Opens MODEL as the other commands would and prints its family, sizes, tensor types and pooling,\n"
     "the memory it takes, and the kernels and threads that will run it.\n",
     "  embellama inspect\n"
     "  embellama inspect all-MiniLM-L6-v2-Q8_0.gguf\n"
     "  embellama inspect --json ./my-model | jq .dim\n",
     emb_cli_inspect},
    {"serve", EMB_CLI_SERVE, "[OPTION...]", "Serve vectors over HTTP.",
     "Answers OpenAI's POST /v1/embeddings, GET /v1/models and GET /health. SIGTERM or SIGINT end it\n"
     "gracefully: requests it holds are answered first; a second one ends it at once. SIGUSR1 and SIGUSR2\n"
     "raise and lower the log level. Workers that end are started again, and no request fails with them.\n"
     "Called by the name embellama-server, the program behaves as this command.\n",
     "  embellama serve\n"
     "  embellama serve --model ./my-model --model-name mine --host 0.0.0.0 --port 9000\n"
     "  curl -s http://127.0.0.1:8080/v1/embeddings -H 'content-type: application/json' \\\n"
     "       -d '{\"model\": \"all-MiniLM-L6-v2\", \"input\": \"Hello\"}'\n",
     emb_cli_serve},
    {"bench", EMB_CLI_BENCH, "[OPTION...] [MODEL]", "Measure how fast a model runs here.",
     "Embeds built-in texts of about 16, 128 and 512 tokens, or those of --input FILE, in rounds over\n"
     "all of them in turn, and prints medians: tokens and texts a second, latency of one text, batch\n"
     "sizes, CPU use, the share of time of each operation, and of the machine's peak, which it measures\n"
     "too: what the products of a second would need, over what the cores can do.\n",
     "  embellama bench\n"
     "  embellama bench --precision int8 --threads 1 --seconds 60\n"
     "  embellama bench --json ./my-model --input docs.txt | jq '.workloads[0].tokens_per_s'\n",
     emb_cli_bench},
    {"tune", EMB_CLI_TUNE, "[OPTION...] [MODEL]", "Find the best workers, threads and batch size for this machine.",
     "Tries numbers of workers and threads, then the tokens of a batch, then those of a thread's share,\n"
     "under the load of many texts with a few short ones among them, and under short ones alone. Prints\n"
     "a table, takes the lowest latency among what is within 3 % of the best throughput, and saves it:\n"
     "serve and embed then use it where they are not told otherwise. It changes speed, never a vector.\n",
     "  embellama tune\n"
     "  embellama tune --precision int8 --seconds 120 ./my-model\n",
     emb_cli_tune},
    {"dead-letter", EMB_CLI_DEAD_LETTER, "[OPTION...] list|retry FILE",
     "Look at inputs that ended a worker, or try them again.",
     "Reads the FILE that serve --dead-letter wrote. list shows when each was, the beginning of its hash, its\n"
     "place in its request, its tokens, whether their ids are there, the request's id, and the reason.\n"
     "retry sends each to a running server, which keeps such inputs out for ten minutes, and says what became\n"
     "of it; with a server that demands keys, EMBELLAMA_API_KEY gives one. Exit code 1: not all is well.\n",
     "  embellama dead-letter list dead.jsonl\n"
     "  embellama dead-letter retry dead.jsonl --url http://127.0.0.1:8080\n",
     emb_cli_dead_letter},
    {"help", EMB_CLI_OTHER, "[COMMAND]", "Show what a command does and takes.", "Without COMMAND, shows all of them.\n",
     "  embellama help embed\n", emb_cli_help},
    {"version", EMB_CLI_OTHER, "", "Show the version.", "Also the CPU tier in use and the threads available.\n",
     "  embellama version\n", emb_cli_version},
    {"completion", EMB_CLI_OTHER, "bash", "Print a shell's completion script.", "Only bash is known.\n",
     "  source <(embellama completion bash)\n", emb_cli_completion},
    {NULL, 0, NULL, NULL, NULL, NULL, NULL},
};

const struct emb_cli_command *emb_cli_find_command(const char *name)
{
    const char *nearest = NULL;
    size_t best = 4;
    for (const struct emb_cli_command *c = emb_cli_commands; c->name; c++) {
        size_t distance = emb_cli_distance(name, c->name);
        if (distance == 0) {
            return c;
        }
        if (distance < best) {
            best = distance;
            nearest = c->name;
        }
    }
    if (nearest) {
        emb_cli_usage(NULL, "no command '%.60s'; did you mean %s?", name, nearest);
    } else {
        emb_cli_usage(NULL, "no command '%.60s'", name);
    }
    return NULL;
}
