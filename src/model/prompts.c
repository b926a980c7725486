/* See prompts.h. Prompts with an empty text count for nothing but their names, as sentence-transformers writes "query" and "document"
 * into every model it saves. */
#include "model/prompts.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "model/metadata.h"

#define FILE_NAME "config_sentence_transformers.json"

enum { PROMPTS_MAX = 1024 };

const struct emb_prompt *emb_prompts_find(const struct emb_prompts *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++) {
        if (strcmp(p->list[i].name, name) == 0) {
            return &p->list[i];
        }
    }
    return NULL;
}

static int add(struct emb_prompts *p, const char *name, struct emb_json_value value, embellama_error *error)
{
    const char *text;
    size_t size;
    if (!emb_json_string(value, &text, &size) || strlen(text) != size) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, FILE_NAME ": the prompt \"%.60s\" is no text", name);
    }
    if (emb_prompts_find(p, name) || p->count == PROMPTS_MAX) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, FILE_NAME ": the prompt \"%.60s\" is there twice, or one of over %d",
                        name, PROMPTS_MAX);
    }
    if (!emb_grow(&p->list, &p->room, p->count + 1, sizeof *p->list)) {
        return emb_fail_nomem(error);
    }
    struct emb_prompt *prompt = &p->list[p->count++];
    *prompt = (struct emb_prompt){emb_strdup(name), emb_strdup(text)};
    return prompt->name && prompt->text ? EMBELLAMA_OK : emb_fail_nomem(error);
}

static int read_prompts(struct emb_prompts *p, struct emb_json_value root, embellama_error *error)
{
    struct emb_json_value prompts, fallback;
    const char *name;
    size_t size;
    int rc = EMBELLAMA_OK;
    if (emb_json_get(root, "prompts", &prompts) && emb_json_type(prompts) != EMB_JSON_NULL) {
        if (emb_json_type(prompts) != EMB_JSON_OBJECT) {
            return emb_fail(error, EMBELLAMA_E_FORMAT, FILE_NAME ": \"prompts\" is no object");
        }
        for (struct emb_json_iter it = emb_json_iterate(prompts); rc == EMBELLAMA_OK && emb_json_next(&it);) {
            rc = add(p, it.key, it.value, error);
        }
    }
    if (rc != EMBELLAMA_OK || !emb_json_get(root, "default_prompt_name", &fallback) ||
        emb_json_type(fallback) == EMB_JSON_NULL) {
        return rc;
    }
    if (!emb_json_string(fallback, &name, &size) || !(p->fallback = emb_prompts_find(p, name))) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, FILE_NAME ": \"default_prompt_name\" is none of its prompts");
    }
    return EMBELLAMA_OK;
}

/* ---- Pooling without prompts ---- */

/* Refuses a Pooling module that does not pool the tokens of prompts. folder is its place out of modules.json. */
static int check_pooling(const char *directory, const char *folder, embellama_error *error)
{
    struct emb_json *json = NULL;
    char name[256];
    bool included = true;
    if (snprintf(name, sizeof name, "%s%sconfig.json", folder, *folder ? "/" : "") >= (int)sizeof name) {
        return emb_fail(error, EMBELLAMA_E_FORMAT, "modules.json: a module's path is too long");
    }
    int rc = emb_metadata_json_if_any(&json, directory, name, error);
    if (rc == EMBELLAMA_OK && json) {
        emb_json_get_bool(emb_json_root(json), "include_prompt", &included);
    }
    emb_json_free(json);
    if (rc == EMBELLAMA_OK && !included) {
        rc = emb_fail(error, EMBELLAMA_E_UNSUPPORTED,
                      "the Pooling module's \"include_prompt\": false (the model has prompts) is not supported");
    }
    return rc;
}

static int check_modules(const char *directory, embellama_error *error)
{
    struct emb_json *json = NULL;
    int rc = emb_metadata_json_if_any(&json, directory, "modules.json", error);
    if (rc != EMBELLAMA_OK || !json) {
        return rc;
    }
    for (struct emb_json_iter it = emb_json_iterate(emb_json_root(json)); rc == EMBELLAMA_OK && emb_json_next(&it);) {
        const char *path = "";
        size_t size;
        emb_json_get_string(it.value, "path", &path, &size);
        if (strcmp(emb_metadata_module(it.value), "Pooling") == 0) {
            rc = check_pooling(directory, path, error);
        }
    }
    emb_json_free(json);
    return rc;
}

int emb_prompts_read(struct emb_prompts *p, const char *directory, embellama_error *error)
{
    struct emb_json *json = NULL;
    *p = (struct emb_prompts){0};
    int rc = emb_metadata_json_if_any(&json, directory, FILE_NAME, error);
    if (rc == EMBELLAMA_OK && json) {
        rc = read_prompts(p, emb_json_root(json), error);
    }
    emb_json_free(json);
    bool any = false;
    for (size_t i = 0; rc == EMBELLAMA_OK && i < p->count; i++) {
        any |= p->list[i].text[0] != '\0';
    }
    if (any) {
        rc = check_modules(directory, error);
    }
    if (rc != EMBELLAMA_OK) {
        emb_prompts_deinit(p);
    }
    return rc;
}

void emb_prompts_deinit(struct emb_prompts *p)
{
    for (size_t i = 0; i < p->count; i++) {
        emb_free(p->list[i].name);
        emb_free(p->list[i].text);
    }
    emb_free(p->list);
    *p = (struct emb_prompts){0};
}
