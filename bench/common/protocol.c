/* SPDX-License-Identifier: BSD-3-Clause */
#include "protocol.h"
#include "clock.h"
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void protocol_ready(void)
{
	printf("{\"ready\": true, \"tsc_hz\": %" PRIu64 "}\n", clock_hz());
	fflush(stdout);
}

/* False: "quit". An unknown command is answered too: whoever sent it is waiting for a line. */
static bool answer_line(char *line, const struct protocol_command *commands, void *opaque)
{
	char *argument = line + strcspn(line, " \t\n");

	if (*argument)
		*argument++ = '\0';
	argument[strcspn(argument, "\n")] = '\0';
	if (strcmp(line, "quit") == 0)
		return false;
	while (commands->name && strcmp(commands->name, line) != 0)
		commands++;
	if (commands->name)
		commands->answer(opaque, argument, stdout);
	else
		fputs("{\"error\": \"unknown command\"}", stdout);
	putchar('\n');
	fflush(stdout);
	return true;
}

void protocol_serve(const struct protocol_command *commands, void *opaque)
{
	char *line = NULL;
	size_t room = 0;

	while (getline(&line, &room, stdin) > 0 && answer_line(line, commands, opaque))
		;
	free(line);
}
