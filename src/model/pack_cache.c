/* The folder of packed weights. All names in it are made here, and relative to its descriptor. */
#include "model/pack_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/status.h"
#include "model/pack.h"

/* A file that changed less than this many seconds ago may change again without its times telling. */
enum { SETTLED_S = 2 };

/* Seconds after which a temporary file has been left behind by a process that died. */
enum { ABANDONED_S = 3600 };

#define PACK_ENDING ".pack"
#define LINK_ENDING ".link"
#define TEMPORARY_ENDING ".tmp"

struct name {
    char text[128];
};

struct cache {
    const char *folder;
    int dir;
    const struct emb_spec *spec;
    const struct emb_source *source;
    const struct emb_form *form;
    struct emb_team *team;
    struct name link; /* of the model's files as they are */
};

/* ---- Names ---- */

static struct name name_of(struct emb_hash hash, const struct emb_form *form, const char *ending)
{
    char hex[EMB_HASH_HEX + 1];
    struct name name;
    emb_hash_print(hash, hex);
    snprintf(name.text, sizeof name.text, "%s-%.15s-%.31s-v%d%s", hex, form->kernels->tier, form->gemm->name,
             EMB_PACK_VERSION, ending);
    return name;
}

/* What the model's files are now. */
static struct emb_hash identify(const struct emb_spec *spec, const struct emb_source *source)
{
    struct emb_pack_spec fixed = emb_pack_spec_of(spec);
    struct emb_hash hash = emb_hash_of(&fixed, sizeof fixed);
    for (size_t i = 0; i < emb_source_file_count(source); i++) {
        const struct emb_file_stamp *stamp = &emb_source_file(source, i)->stamp;
        emb_hash_add(&hash, stamp, sizeof *stamp);
    }
    return hash;
}

/* Whether the files' times can be relied on. */
static bool settled(const struct emb_source *source)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    for (size_t i = 0; i < emb_source_file_count(source); i++) {
        if (emb_source_file(source, i)->stamp.changed_s > now.tv_sec - SETTLED_S) {
            return false;
        }
    }
    return true;
}

/* ---- The folder ---- */

/* Makes path and the folders above it. */
static int make_folder(const char *path)
{
    char part[4096];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof part) {
        errno = ENAMETOOLONG;
        return -1;
    }
    for (size_t i = 1; i <= length; i++) {
        if (path[i] == '/' || path[i] == '\0') {
            memcpy(part, path, i);
            part[i] = '\0';
            if (mkdir(part, 0700) != 0 && errno != EEXIST) {
                return -1;
            }
        }
    }
    return 0;
}

static bool only_ours(const struct stat *st)
{
    return st->st_uid == geteuid() && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

static int open_folder(struct cache *c, embellama_error *error)
{
    struct stat st;
    c->dir = make_folder(c->folder) == 0 ? open(c->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (c->dir < 0) {
        return emb_fail(error, EMBELLAMA_E_IO, "%.150s: %s", c->folder, strerror(errno));
    }
    if (fstat(c->dir, &st) != 0 || !only_ours(&st)) {
        close(c->dir);
        return emb_fail(error, EMBELLAMA_E_IO, "%.150s: not this user's alone to write", c->folder);
    }
    return EMBELLAMA_OK;
}

/* ---- Looking up ---- */

/* Where the link of the model's files points: the name of a pack and its hash. False where there is no link, or none of ours. */
static bool follow(const struct cache *c, struct name *pack, struct emb_hash *hash)
{
    ssize_t length = readlinkat(c->dir, c->link.text, pack->text, sizeof pack->text - 1);
    if (length < 0) {
        return false;
    }
    pack->text[length] = '\0';
    return emb_hash_parse(pack->text, hash) && strcmp(pack->text, name_of(*hash, c->form, PACK_ENDING).text) == 0;
}

static int attach(const struct cache *c, struct emb_weights *w, int fd, struct emb_hash hash, embellama_error *error)
{
    struct emb_form form = *c->form;
    struct emb_spec spec;
    int rc = emb_weights_attach(w, &spec, fd, &form, error);
    if (rc == EMBELLAMA_OK && memcmp(&w->hash, &hash, sizeof hash) != 0) {
        emb_weights_free(w);
        return emb_fail(error, EMBELLAMA_E_FORMAT, "packed weights of another model");
    }
    return rc;
}

/* Attaches the pack that was kept for the model's files. E_NOT_FOUND where there is none; other errors for one that is broken. */
static int look_up(const struct cache *c, struct emb_weights *w, embellama_error *error)
{
    struct name pack;
    struct emb_hash hash;
    struct stat st;
    if (!follow(c, &pack, &hash)) {
        return emb_fail(error, EMBELLAMA_E_NOT_FOUND, "not there");
    }
    int fd = openat(c->dir, pack.text, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return emb_fail(error, errno == ENOENT ? EMBELLAMA_E_NOT_FOUND : EMBELLAMA_E_IO, "%s", strerror(errno));
    }
    int rc = fstat(fd, &st) == 0 && only_ours(&st) ? attach(c, w, fd, hash, error)
                                                   : emb_fail(error, EMBELLAMA_E_IO, "another user may write to it");
    if (rc == EMBELLAMA_OK) {
        futimens(fd, NULL); /* used now: the last to go */
    }
    close(fd);
    return rc;
}

/* ---- Keeping ---- */

static struct name temporary_name(void)
{
    struct name name;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(name.text, sizeof name.text, "%ld-%lld-%09ld" TEMPORARY_ENDING, (long)getpid(), (long long)now.tv_sec,
             now.tv_nsec);
    return name;
}

/* Puts a link to the pack in place, whole. */
static int link_to(const struct cache *c, const struct name *pack)
{
    struct name temporary = temporary_name();
    if (symlinkat(pack->text, c->dir, temporary.text) != 0) {
        return -1;
    }
    if (renameat(c->dir, temporary.text, c->dir, c->link.text) != 0) {
        unlinkat(c->dir, temporary.text, 0);
        return -1;
    }
    return 0;
}

/* Packs into the temporary file fd and gives it its name. */
static int keep(const struct cache *c, int fd, const struct name *temporary, struct emb_hash *hash,
                embellama_error *error)
{
    int rc = emb_weights_pack(fd, hash, c->spec, c->source, c->form, c->team, error);
    if (rc != EMBELLAMA_OK) {
        return rc;
    }
    struct name pack = name_of(*hash, c->form, PACK_ENDING);
    if (fsync(fd) != 0 || renameat(c->dir, temporary->text, c->dir, pack.text) != 0 || link_to(c, &pack) != 0) {
        return emb_fail(error, EMBELLAMA_E_IO, "%.150s: %s", c->folder, strerror(errno));
    }
    fsync(c->dir);
    return EMBELLAMA_OK;
}

static int pack_anew(const struct cache *c, struct emb_weights *w, embellama_error *error)
{
    struct name temporary = temporary_name();
    struct emb_hash hash;
    int fd = openat(c->dir, temporary.text, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return emb_fail(error, EMBELLAMA_E_IO, "%.150s: %s", c->folder, strerror(errno));
    }
    int rc = keep(c, fd, &temporary, &hash, error);
    if (rc != EMBELLAMA_OK) {
        unlinkat(c->dir, temporary.text, 0);
    } else {
        rc = attach(c, w, fd, hash, error);
    }
    close(fd);
    return rc;
}

/* ---- Sweeping ---- */

static bool ends_with(const char *name, const char *ending)
{
    size_t a = strlen(name), b = strlen(ending);
    return a > b && strcmp(name + a - b, ending) == 0;
}

/* What of the folder stands out in one look. */
struct look {
    size_t packs;
    struct name oldest;
    int64_t oldest_s;
};

static void look_at(const struct cache *c, struct look *look, const char *name)
{
    struct stat st, target;
    struct timespec now;
    if (fstatat(c->dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || strlen(name) >= sizeof look->oldest.text) {
        return;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    bool abandoned = ends_with(name, TEMPORARY_ENDING) && st.st_mtim.tv_sec < now.tv_sec - ABANDONED_S;
    bool dangling = ends_with(name, LINK_ENDING) && S_ISLNK(st.st_mode) && fstatat(c->dir, name, &target, 0) != 0;
    if (abandoned || dangling) {
        unlinkat(c->dir, name, 0);
    } else if (ends_with(name, PACK_ENDING) && S_ISREG(st.st_mode)) {
        if (look->packs++ == 0 || st.st_mtim.tv_sec < look->oldest_s) {
            look->oldest_s = st.st_mtim.tv_sec;
            snprintf(look->oldest.text, sizeof look->oldest.text, "%s", name);
        }
    }
}

/* Removes the packs used longest ago beyond those kept, links to nothing and what dead processes left. Returns whether there may be
 * more to remove. */
static bool sweep_once(const struct cache *c)
{
    struct look look = {0};
    int copy = openat(c->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = copy >= 0 ? fdopendir(copy) : NULL;
    if (!stream) {
        if (copy >= 0) {
            close(copy);
        }
        return false;
    }
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        look_at(c, &look, entry->d_name);
    }
    closedir(stream);
    return look.packs > EMB_PACK_CACHE_KEEP && unlinkat(c->dir, look.oldest.text, 0) == 0;
}

static void sweep(const struct cache *c)
{
    while (sweep_once(c)) {
    }
}

/* ---- All ---- */

/* E_NOMEM, E_FORMAT and E_UNSUPPORTED of packing come again, and are told, when the weights are loaded without the folder. */
static int use_folder(struct cache *c, struct emb_weights *w, char notice[256], embellama_error *error)
{
    embellama_error broken = {0};
    int rc = look_up(c, w, &broken);
    if (rc == EMBELLAMA_OK) {
        return rc;
    }
    rc = pack_anew(c, w, error);
    if (rc == EMBELLAMA_OK && broken.code != EMBELLAMA_E_NOT_FOUND) {
        snprintf(notice, 256, "packed weights in %.80s were not used, and packed anew: %.120s", c->folder,
                 broken.message);
    }
    sweep(c);
    return rc;
}

int emb_pack_cache_load(struct emb_weights *w, const char *folder, const struct emb_spec *spec,
                        const struct emb_source *source, const struct emb_form *form, struct emb_team *team,
                        char notice[256], embellama_error *error)
{
    struct cache c = {folder, -1, spec, source, form, team, name_of(identify(spec, source), form, LINK_ENDING)};
    embellama_error why = {0};
    notice[0] = '\0';
    if (settled(source)) {
        int rc = open_folder(&c, &why);
        if (rc == EMBELLAMA_OK) {
            rc = use_folder(&c, w, notice, &why);
            close(c.dir);
        }
        if (rc == EMBELLAMA_OK) {
            return rc;
        }
        snprintf(notice, 256, "packed weights are not kept: %.200s", why.message);
    }
    return emb_weights_load(w, spec, source, form->gemm, team, error);
}
