#include "init/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char top[] = "/tmp/holdline-test-sockets-XXXXXX";
static char said[4096]; /* on standard error, by the last hear() */
static int heard = -1, kept_stderr = -1;

static void
listen_in(void)
{
    heard = memfd_create("said", MFD_CLOEXEC);
    kept_stderr = dup(2);
    fflush(stderr);
    dup2(heard, 2);
}

/* What was complained about since listen_in(). */
static const char *
hear(void)
{
    fflush(stderr);
    dup2(kept_stderr, 2);
    close(kept_stderr);
    ssize_t n = pread(heard, said, sizeof said - 1, 0);
    said[n < 0 ? 0 : n] = '\0';
    close(heard);
    return said;
}

static char *
in_top(const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%s", top, name);
    return path;
}

static struct conf
conf_with(char *run_dir)
{
    return (struct conf){.file = "t.yaml", .run_dir = run_dir, .user = "nobody"};
}

static int
make_top(void **state)
{
    (void)state;
    if (!mkdtemp(top))
        return -1;
    return chmod(top, 0755);
}

static int
remove_top(void **state)
{
    char command[sizeof top + 16];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", top);
    return system(command);
}

/* ---- whom the workers run as ---- */

static void
test_user(void **state)
{
    struct conf c = conf_with("/nowhere");
    uid_t uid = 12345;
    gid_t gid = 12345;

    (void)state;
    if (geteuid() != 0) { /* it does not matter whom the configuration names */
        c.user = "no-such-user";
        assert_int_equal(sockets_user(&c, &uid, &gid), 0);
        assert_int_equal(uid, geteuid());
        assert_int_equal(gid, getegid());
        return;
    }
    assert_int_equal(sockets_user(&c, &uid, &gid), 0);
    assert_true(uid != 0 && uid != 12345 && gid != 0 && gid != 12345);
    listen_in();
    c.user = "no-such-user";
    int r = sockets_user(&c, &uid, &gid);
    assert_non_null(strstr(hear(), "no-such-user"));
    assert_int_equal(r, -1);
    listen_in();
    c.user = "root";
    r = sockets_user(&c, &uid, &gid);
    assert_non_null(strstr(hear(), "root"));
    assert_int_equal(r, -1);
}

/* ---- run_dir ---- */

static void
test_run_dir_is_made_and_locked(void **state)
{
    struct conf c = conf_with(in_top("a/b/run"));
    struct stat st;
    uid_t uid;
    gid_t gid;
    char text[32] = "";

    (void)state;
    assert_int_equal(sockets_user(&c, &uid, &gid), 0);
    mode_t old = umask(077); /* an administrator's habit; the workers have to come through */
    int lock = sockets_run_dir(&c, uid, gid);
    assert_int_equal(umask(old), 077);
    assert_true(lock >= 0);
    assert_int_equal(stat(c.run_dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(st.st_uid, geteuid());
    sockets_write_pid(lock);
    assert_true(pread(lock, text, sizeof text - 1, 0) > 0);
    assert_int_equal(atol(text), getpid());

    listen_in();
    int second = sockets_run_dir(&c, uid, gid);
    hear();
    assert_int_equal(second, -1);
    text[strcspn(text, "\n")] = '\0';
    assert_non_null(strstr(said, text)); /* whom to stop */
    assert_non_null(strstr(said, "another holdline"));
    close(lock);
    lock = sockets_run_dir(&c, uid, gid);
    assert_true(lock >= 0);
    close(lock);
}

static void
test_run_dir_that_exists_is_left_as_it_is(void **state)
{
    struct conf c = conf_with(in_top("mine"));
    struct stat before, after;
    uid_t uid;
    gid_t gid;

    (void)state;
    assert_int_equal(sockets_user(&c, &uid, &gid), 0);
    assert_int_equal(mkdir(c.run_dir, 0751), 0);
    assert_int_equal(chmod(c.run_dir, 01751), 0);
    assert_int_equal(stat(c.run_dir, &before), 0);
    int lock = sockets_run_dir(&c, uid, gid);
    assert_true(lock >= 0);
    close(lock);
    assert_int_equal(stat(c.run_dir, &after), 0);
    assert_int_equal(before.st_mode, after.st_mode);
    assert_int_equal(before.st_uid, after.st_uid);
    assert_int_equal(before.st_gid, after.st_gid);
}

static void
test_run_dir_that_workers_cannot_enter(void **state)
{
    struct conf c = conf_with(in_top("closed/run"));
    uid_t uid;
    gid_t gid;

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(sockets_user(&c, &uid, &gid), 0);
    assert_int_equal(mkdir(in_top("closed"), 0700), 0);
    c.run_dir = in_top("closed/run");
    listen_in();
    int r = sockets_run_dir(&c, uid, gid);
    hear();
    assert_int_equal(r, -1);
    assert_non_null(strstr(said, "run_dir"));
    assert_non_null(strstr(said, "Permission denied"));
    assert_int_equal(geteuid(), 0); /* we are ourselves again */
    assert_int_equal(getegid(), getgid());
}

static void
test_run_dir_refuses_a_link_in_the_place_of_the_lock(void **state)
{
    struct conf c = conf_with(in_top("linked"));
    char victim[300];
    uid_t uid;
    gid_t gid;

    (void)state;
    assert_int_equal(sockets_user(&c, &uid, &gid), 0);
    assert_int_equal(mkdir(c.run_dir, 0755), 0);
    snprintf(victim, sizeof victim, "%s/victim", top);
    assert_int_equal(symlink(victim, in_top("linked/holdline.pid")), 0);
    c.run_dir = in_top("linked");
    listen_in();
    int r = sockets_run_dir(&c, uid, gid);
    hear();
    assert_int_equal(r, -1);
    assert_int_equal(access(victim, F_OK), -1);
}

static void
test_run_dir_in_the_way_of_a_file(void **state)
{
    struct conf c = conf_with("/dev/null/run");

    (void)state;
    listen_in();
    int r = sockets_run_dir(&c, geteuid(), getegid());
    assert_non_null(strstr(hear(), "/dev/null/run"));
    assert_int_equal(r, -1);
}

/* ---- listening ---- */

static int
connects(int family, const struct sockaddr *a, socklen_t len)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r = connect(fd, a, len);

    close(fd);
    return r;
}

static int
port_of(int fd)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;

    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    return ntohs(
        a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
}

static void
test_tcp_listens_and_says_when_it_cannot(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char port[16];

    (void)state;
    int fd = sockets_tcp("127.0.0.1", 0, "http.listen");
    assert_true(fd >= 0);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    a.sin_port = htons((uint16_t)port_of(fd));
    assert_int_equal(connects(AF_INET, (struct sockaddr *)&a, sizeof a), 0);

    listen_in();
    int r = sockets_tcp("127.0.0.1", port_of(fd), "http.listen");
    hear();
    assert_int_equal(r, -1);
    snprintf(port, sizeof port, "%d", port_of(fd));
    assert_non_null(strstr(said, "http.listen"));
    assert_non_null(strstr(said, port));
    close(fd);

    static const char *const wrong[] = {"localhost", "127.0.0.256", "::g"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        listen_in();
        r = sockets_tcp(wrong[i], 0, "status");
        assert_non_null(strstr(hear(), "status"));
        assert_int_equal(r, -1);
    }
}

static void
test_tcp_any_address_takes_both_families(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    (void)state;
    int fd = sockets_tcp("::", 0, "http.listen");
    assert_true(fd >= 0);
    a.sin_port = htons((uint16_t)port_of(fd));
    assert_int_equal(connects(AF_INET, (struct sockaddr *)&a, sizeof a), 0);
    close(fd);
}

static void
test_unix_socket_is_the_workers_alone_and_replaces_a_stale_one(void **state)
{
    struct conf c = conf_with(top);
    struct stat st;
    uid_t uid;
    gid_t gid;

    (void)state;
    assert_int_equal(sockets_user(&c, &uid, &gid), 0);
    mode_t old = umask(0);
    for (int i = 0; i < 2; i++) {
        int fd = sockets_unix(&c, 3, uid, gid);
        assert_true(fd >= 0);
        close(fd);
    }
    assert_int_equal(umask(old), 0);
    assert_int_equal(lstat(in_top("connector-3.sock"), &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_uid, uid);

    assert_int_equal(mkdir(in_top("connector-4.sock"), 0755), 0);
    listen_in();
    assert_int_equal(sockets_unix(&c, 4, uid, gid), -1);
    assert_non_null(strstr(hear(), "cannot remove the old"));

    char dir[200] = "/tmp/";
    memset(dir + 5, 'x', 110);
    c.run_dir = dir;
    listen_in();
    int r = sockets_unix(&c, 0, uid, gid);
    assert_non_null(strstr(hear(), "too long"));
    assert_int_equal(r, -1);
}

/* ---- the configuration's copy ---- */

static void
test_conf_is_copied_and_sealed(void **state)
{
    const char *path = in_top("holdline.yaml");
    char text[32] = "";
    FILE *f = fopen(path, "w");

    (void)state;
    fputs("domains: {}\n", f);
    fclose(f);
    int fd = sockets_conf(path);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(pread(fd, text, sizeof text, 0), 12);
    assert_string_equal(text, "domains: {}\n");
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, 0), -1);
    close(fd);

    listen_in();
    fd = sockets_conf(path);
    assert_non_null(strstr(hear(), path));
    assert_int_equal(fd, -1);
}

static void
test_conf_of_any_size_is_not_taken(void **state)
{
    (void)state;
    listen_in();
    int fd = sockets_conf("/dev/zero");
    hear();
    assert_int_equal(fd, -1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_user),
        cmocka_unit_test(test_run_dir_is_made_and_locked),
        cmocka_unit_test(test_run_dir_that_exists_is_left_as_it_is),
        cmocka_unit_test(test_run_dir_that_workers_cannot_enter),
        cmocka_unit_test(test_run_dir_refuses_a_link_in_the_place_of_the_lock),
        cmocka_unit_test(test_run_dir_in_the_way_of_a_file),
        cmocka_unit_test(test_tcp_listens_and_says_when_it_cannot),
        cmocka_unit_test(test_tcp_any_address_takes_both_families),
        cmocka_unit_test(test_unix_socket_is_the_workers_alone_and_replaces_a_stale_one),
        cmocka_unit_test(test_conf_is_copied_and_sealed),
        cmocka_unit_test(test_conf_of_any_size_is_not_taken),
    };
    return cmocka_run_group_tests(tests, make_top, remove_top);
}
