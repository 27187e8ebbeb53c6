/* SPDX-License-Identifier: BSD-3-Clause */
#include "screen.h"
#include "width.h"
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
static volatile sig_atomic_t ended, resized;

static void on_signal(int sig)
{
	if (sig == SIGWINCH)
		resized = 1;
	else
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
	sigaction(SIGWINCH, &action, NULL);
	raw = saved_termios;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	fputs("\033[?1049h\033[?25l", stdout); /* the other screen, no cursor */
	fflush(stdout);
}

static struct winsize window(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_row || !size.ws_col)
		size = (struct winsize){.ws_row = 24, .ws_col = 80};
	return size;
}

size_t screen_columns(const struct screen *screen)
{
	return screen->terminal ? window().ws_col : 0;
}

static void text_free(struct screen *screen)
{
	free(screen->text);
	screen->text = NULL;
}

FILE *screen_draw(struct screen *screen)
{
	text_free(screen);
	screen->fixed_lines = 0;
	screen->out = open_memstream(&screen->text, &screen->bytes);
	return screen->out;
}

static size_t lines_of(const char *text)
{
	size_t lines = 0;

	for (; *text; lines++) {
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	return lines;
}

/*
 * A line is cleared before it is written, for behind its last column a terminal would clear that one; and it is cut, so that nothing
 * wraps or scrolls.
 */
static void line_draw(const char *line, size_t columns)
{
	printf("\033[K%.*s\n", (int)width_cut(line, strcspn(line, "\n"), columns), line);
}

/* The last row: what the keys do, and which lines are in sight. */
static void status_draw(const struct scroll *scroll, size_t columns)
{
	char text[160];
	size_t rest = scroll->lines - scroll->fixed, last = scroll->at + scroll_page(scroll);

	if (scroll_is_all(scroll))
		snprintf(text, sizeof(text), " q: quit ");
	else
		snprintf(text, sizeof(text), " q: quit  %zu-%zu of %zu  arrows, PgUp, PgDn: scroll ", scroll->at + 1,
			 last < rest ? last : rest, rest);
	fputs("\033[J", stdout);
	for (size_t row = scroll->lines; row < scroll->rows; row++)
		putchar('\n');
	printf("\033[7m%.*s\033[0m", (int)width_cut(text, strlen(text), columns - 1), text);
}

static void text_show(struct screen *screen)
{
	struct winsize size = window();
	struct scroll *scroll = &screen->scroll;
	const char *line = screen->text;

	scroll_set(scroll, lines_of(line), screen->fixed_lines, size.ws_row - 1u);
	fputs("\033[H", stdout);
	for (size_t i = 0; i < scroll->lines; i++) {
		bool above = i >= scroll->fixed && i < scroll->fixed + scroll->at;

		if (!above && i < scroll->rows + scroll->at)
			line_draw(line, size.ws_col);
		line += strcspn(line, "\n") + 1;
	}
	status_draw(scroll, size.ws_col);
	fflush(stdout);
}

void screen_show(struct screen *screen)
{
	bool whole = screen->out && !fclose(screen->out);

	screen->out = NULL;
	if (!whole) {
		text_free(screen);
	} else if (screen->terminal) {
		text_show(screen);
	} else {
		fputs(screen->text, stdout);
		fflush(stdout);
	}
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* False: the end is asked for, or the terminal has gone. */
static bool keys_take(struct screen *screen)
{
	char keys[64];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	return n > 0 && scroll_keys(&screen->scroll, keys, (size_t)n);
}

bool screen_wait(struct screen *screen, double seconds)
{
	struct pollfd input = {.fd = screen->terminal ? STDIN_FILENO : -1, .events = POLLIN};
	double end = now_s() + seconds, left;

	while (!ended && (left = end - now_s()) > 0) {
		int ready = poll(&input, 1, (int)(left * 1000) + 1);

		if (ready > 0 && !keys_take(screen))
			return false;
		if ((ready > 0 || resized) && screen->terminal && screen->text)
			text_show(screen);
		resized = 0;
	}
	return !ended;
}

void screen_end(struct screen *screen)
{
	text_free(screen);
	if (!screen->terminal)
		return;
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSANOW, &saved_termios);
}
