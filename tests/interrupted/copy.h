// A copy of this process that goes on with a full disk: a part of interpose.c.

static void run_tool(char *const words[]) {
    pid_t tool = vfork();
    if (!tool) execve(words[0], words, (char *[]){NULL}), _exit(127);
    waitpid(tool, NULL, 0);
}

// Over the folder lies one in which this process alone changes files; false where the system does not let it
static int own_view(const char *place) {
    char upper[PATH_MAX], work[PATH_MAX], options[4 * PATH_MAX];
    snprintf(upper, sizeof upper, "%s/upper", place), snprintf(work, sizeof work, "%s/work", place);
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s,redirect_dir=on", view, upper, work);
    run_tool((char *[]){"/bin/mkdir", "-p", upper, work, NULL});
    return !unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
           !mount("overlay", view, "overlay", 0, options);
}

// What this process has open, before and after a fork that shares its places in them
static void keep_open_files(int restore) {
    static struct { off_t at, size; } kept[256];
    for (int one = 3; one < 256; one++) {
        struct stat now;
        if (fstat(one, &now) || !S_ISREG(now.st_mode)) continue;
        if (!restore) {
            kept[one].at = lseek(one, 0, SEEK_CUR), kept[one].size = now.st_size;
        } else {
            if (now.st_size != kept[one].size && syscall(SYS_ftruncate, one, kept[one].size)) continue;
            lseek(one, kept[one].at, SEEK_SET);
        }
    }
}

static void printed(const char *place, int stream, const void *from, size_t length) {
    char path[2 * PATH_MAX];
    snprintf(path, sizeof path, "%s/printed.%d", place, stream);
    int file = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (syscall(SYS_write, file, from, length) < 0) abort();
    close(file);
}

static int wait_and_keep(pid_t child, const char *place, const int *streams) {
    int status = 0, left = 2000;
    while (!waitpid(child, &status, WNOHANG) && left--) usleep(5000);
    if (left < 0) kill(child, SIGKILL);
    char path[PATH_MAX], from[PATH_MAX];
    for (const char **name = (const char *[]){"here/out", "tmp", NULL}; *name; name++) {
        snprintf(from, sizeof from, "%s/%s", view, *name);
        run_tool((char *[]){"/bin/cp", "-a", from, (char *)place, NULL});
    }
    snprintf(path, sizeof path, "%s/code", place);
    FILE *code = fopen(path, "w");
    for (int stream = 1; stream <= 2; stream++) {
        static char text[1 << 16];
        ssize_t length = read(streams[stream - 1], text, sizeof text);
        if (length > 0) printed(place, stream, text, length);
    }
    fprintf(code, "%d", left < 0 ? -9 : WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    fclose(code);
    return left < 0;
}

// Whether this is the copy that goes on with a full disk from the call of that number on. Python's locks are held over
// the fork, as os.fork does; other threads are not in the copy.
static int forked(long now) {
    if (!forks || getpid() != forker || gettid() != forker) return 0;
    static int (*ensure)(void);
    static void (*release)(int), (*before)(void), (*parent)(void), (*child)(void);
    if (!ensure) {
        ensure = dlsym(RTLD_DEFAULT, "PyGILState_Ensure"), release = dlsym(RTLD_DEFAULT, "PyGILState_Release");
        before = dlsym(RTLD_DEFAULT, "PyOS_BeforeFork"), parent = dlsym(RTLD_DEFAULT, "PyOS_AfterFork_Parent");
        child = dlsym(RTLD_DEFAULT, "PyOS_AfterFork_Child");
    }
    char place[PATH_MAX], here[PATH_MAX], path[2 * PATH_MAX];
    snprintf(place, sizeof place, "%s/%ld", forks, now);
    if (!getcwd(here, sizeof here)) return 0;
    keep_open_files(0);
    int held = ensure();
    before();
    pid_t keeper = fork();
    if (keeper) {
        parent();
        release(held);
        int status;
        waitpid(keeper, &status, 0);
        keep_open_files(1);
        static int stuck;
        if (status && ++stuck == 3) forks = NULL;  // they wait for threads that they do not have
        return 0;
    }
    int ends[2][2];
    if (!own_view(place) || pipe2(ends[0], O_NONBLOCK) || pipe2(ends[1], O_NONBLOCK)) _exit(1);
    for (int stream = 1; stream <= 2; stream++) {
        snprintf(path, sizeof path, "%s/printed.%d", forks, stream);
        if (!access(path, F_OK)) run_tool((char *[]){"/bin/cp", path, place, NULL});
    }
    pid_t copy = fork();
    if (copy) _exit(wait_and_keep(copy, place, (int[]){ends[0][0], ends[1][0]}));
    is_fork = 1, number = now;
    static _Atomic long own;
    own = now - 1;
    count = &own;
    dup2(ends[0][1], 1), dup2(ends[1][1], 2);
    for (int end = 0; end < 4; end++) close(ends[end / 2][end % 2]);
    forks = NULL;
    if (chdir(here)) _exit(1);
    child();
    release(held);
    return 1;
}

// Drafts that were locked before the fork are so in the copy's view, too
int flock(int descriptor, int operation) {
    if (is_fork && operation & LOCK_NB) return errno = EWOULDBLOCK, -1;
    return syscall(SYS_flock, descriptor, operation);
}

// A library ends its threads, and what they wait for: they are not in the copy
int pthread_join(pthread_t thread, void **result) {
    REAL(pthread_join)
    return is_fork ? 0 : real(thread, result);
}

int pthread_cond_destroy(pthread_cond_t *condition) {
    REAL(pthread_cond_destroy)
    return is_fork ? 0 : real(condition);
}
