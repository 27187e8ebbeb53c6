/* SPDX-License-Identifier: BSD-3-Clause */
#include "screen.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static struct termios saved_termios;
static volatile sig_atomic_t ended;

static void on_signal(int sig)
{
	ended = 1;
}

void screen_begin(struct screen *screen, bool plain)
{
	const struct sigaction action = {.sa_handler = on_signal};
	struct termios raw;

	memset(screen, 0, sizeof(*screen));
	if (plain || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO) ||
	    tcgetattr(STDIN_FILENO, &saved_termios))
		return;
	screen->terminal = true;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	sigaction(SIGQUIT, &action, NULL); /* the terminal is to be as it was */
	raw = saved_termios;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	fputs("\033[?1049h\033[?25l", stdout); /* the other screen, no cursor */
	fflush(stdout);
}

FILE *screen_draw(struct screen *screen)
{
	screen->out = open_memstream(&screen->text, &screen->bytes);
	return screen->out;
}

/* Bytes of a line that fit; a character is not cut in two. */
static size_t cut(const char *line, size_t bytes, size_t columns)
{
	if (bytes <= columns)
		return bytes;
	while (columns && ((unsigned char)line[columns] & 0xc0) == 0x80)
		columns--;
	return columns;
}

/* Cut to the window, so that nothing wraps or scrolls; each line clears the rest of what it overwrites. */
static void draw_lines(const char *text)
{
	struct winsize size;
	size_t len;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_row || !size.ws_col)
		size = (struct winsize){.ws_row = 24, .ws_col = 80};
	fputs("\033[H", stdout);
	for (unsigned row = 1; *text && row < size.ws_row; row++) {
		len = strcspn(text, "\n");
		printf("%.*s\033[K\n", (int)cut(text, len, size.ws_col), text);
		text += len + (text[len] == '\n');
	}
	fputs("\033[J\033[7m q: quit \033[0m", stdout);
}

void screen_show(struct screen *screen)
{
	if (screen->out && !fclose(screen->out)) {
		if (screen->terminal)
			draw_lines(screen->text);
		else
			fputs(screen->text, stdout);
		fflush(stdout);
	}
	free(screen->text);
	screen->text = NULL;
	screen->out = NULL;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

bool screen_wait(struct screen *screen, double seconds)
{
	struct pollfd input = {.fd = screen->terminal ? STDIN_FILENO : -1, .events = POLLIN};
	double end = now_s() + seconds, left;
	char key;

	while (!ended && (left = end - now_s()) > 0) {
		if (poll(&input, 1, (int)(left * 1000) + 1) <= 0)
			continue;
		if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q')
			return false;
	}
	return !ended;
}

void screen_end(struct screen *screen)
{
	if (!screen->terminal)
		return;
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSANOW, &saved_termios);
}
