// Preloaded into a server: its startup process kills the postmaster and itself as soon as a
// promotion has come to a point, which DIE_AT names. With DIE_WHO it kills the process of the
// server whose title has that in it instead, and waits for what comes of it.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int ends(const char *s, const char *with)
{
	size_t a = strlen(s), b = strlen(with);
	return a >= b && strcmp(s + a - b, with) == 0;
}

static void kill_sibling(const char *title)
{
	DIR *all = opendir("/proc");
	struct dirent *e;
	while (all != NULL && (e = readdir(all)) != NULL) {
		char path[300], text[300] = "";
		int pid = atoi(e->d_name), parent = 0;
		FILE *f;
		if (pid == 0)
			continue;
		snprintf(path, sizeof path, "/proc/%d/stat", pid);
		if ((f = fopen(path, "r")) == NULL)
			continue;
		if (fscanf(f, "%*d (%*[^)]) %*c %d", &parent) != 1)
			parent = 0;
		fclose(f);
		snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
		if (parent != getppid() || (f = fopen(path, "r")) == NULL)
			continue;
		if (fgets(text, sizeof text, f) != NULL && strstr(text, title) != NULL)
			kill(pid, SIGKILL);
		fclose(f);
	}
}

static void die_at(const char *point)
{
	const char *at = getenv("DIE_AT"), *who = getenv("DIE_WHO");
	if (at == NULL || strcmp(at, point) != 0)
		return;
	if (who != NULL) {
		kill_sibling(who);
		for (;;)
			pause();
	}
	kill(getppid(), SIGKILL);
	kill(getpid(), SIGKILL);
}

int unlink(const char *path)
{
	int (*real)(const char *) = dlsym(RTLD_NEXT, "unlink");
	int result = real(path);
	if (result == 0 && ends(path, "standby.signal"))
		die_at("signal");
	return result;
}

int rename(const char *from, const char *to)
{
	int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
	int result = real(from, to);
	if (result == 0 && ends(to, ".history"))
		die_at("history");
	return result;
}
