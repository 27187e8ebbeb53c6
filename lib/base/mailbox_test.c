/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/util.h"
#include "vireo/mailbox.h"
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>

#include <cmocka.h>

#define SENDERS 3u
#define LETTERS 20000u
#define WAIT_MS 20000

struct numbered {
	struct vireo_letter letter;
	struct sender *sender;
	unsigned number;
};

struct sender {
	struct vireo_mailbox *mailbox;
	pthread_t thread;
	unsigned delivered; /* the owner's */
	struct numbered letters[LETTERS];
};

static bool readable(const struct vireo_mailbox *mailbox, int wait_ms)
{
	struct pollfd fd = { .fd = vireo_mailbox_fd(mailbox), .events = POLLIN };

	return poll(&fd, 1, wait_ms) == 1;
}

static void count(struct vireo_letter *letter)
{
	struct numbered *numbered = container_of(letter, struct numbered, letter);

	assert_int_equal(numbered->number, numbered->sender->delivered); /* in order, and once */
	numbered->sender->delivered++;
}

static void *send_all(void *argument)
{
	struct sender *sender = argument;

	for (unsigned i = 0; i < LETTERS; i++)
		vireo_mailbox_post(sender->mailbox, &sender->letters[i].letter);
	return NULL;
}

static void each_letter_of_many_threads_is_delivered_once_and_in_order(void **state)
{
	struct sender *senders = calloc(SENDERS, sizeof(*senders));
	struct vireo_mailbox *mailbox;
	unsigned delivered = 0;

	assert_int_equal(vireo_mailbox_new(&mailbox), 0);
	for (unsigned s = 0; s < SENDERS; s++) {
		senders[s].mailbox = mailbox;
		for (unsigned i = 0; i < LETTERS; i++)
			senders[s].letters[i] = (struct numbered){ { .deliver = count }, &senders[s], i };
		assert_int_equal(pthread_create(&senders[s].thread, NULL, send_all, &senders[s]), 0);
	}
	while (delivered < SENDERS * LETTERS) {
		assert_true(readable(mailbox, WAIT_MS)); /* none is left behind without a word */
		delivered += vireo_mailbox_deliver(mailbox);
	}
	for (unsigned s = 0; s < SENDERS; s++) {
		pthread_join(senders[s].thread, NULL);
		assert_int_equal(senders[s].delivered, LETTERS);
	}
	assert_int_equal(vireo_mailbox_deliver(mailbox), 0);
	assert_false(readable(mailbox, 0));
	vireo_mailbox_free(mailbox);
	free(senders);
}

struct restless {
	struct vireo_letter letter;
	struct vireo_mailbox *mailbox;
	unsigned times;
};

static void post_again(struct vireo_letter *letter)
{
	struct restless *restless = container_of(letter, struct restless, letter);

	if (++restless->times < 3)
		vireo_mailbox_post(restless->mailbox, letter);
}

static void letter_that_is_posted_by_its_delivery_waits_for_the_next(void **state)
{
	struct restless restless = { .letter.deliver = post_again };

	assert_int_equal(vireo_mailbox_new(&restless.mailbox), 0);
	assert_false(readable(restless.mailbox, 0));
	vireo_mailbox_post(restless.mailbox, &restless.letter);
	for (unsigned i = 1; i <= 3; i++) {
		assert_true(readable(restless.mailbox, 0));
		assert_int_equal(vireo_mailbox_deliver(restless.mailbox), 1);
		assert_int_equal(restless.times, i);
	}
	assert_false(readable(restless.mailbox, 0));
	vireo_mailbox_free(restless.mailbox);
}

static void free_letter(struct vireo_letter *letter)
{
	free(letter);
}

static void letter_may_be_freed_by_its_delivery(void **state)
{
	struct vireo_mailbox *mailbox;

	assert_int_equal(vireo_mailbox_new(&mailbox), 0);
	for (unsigned i = 0; i < 3; i++) {
		struct vireo_letter *letter = calloc(1, sizeof(*letter));

		letter->deliver = free_letter;
		vireo_mailbox_post(mailbox, letter);
	}
	assert_int_equal(vireo_mailbox_deliver(mailbox), 3);
	vireo_mailbox_free(mailbox);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_letter_of_many_threads_is_delivered_once_and_in_order),
		cmocka_unit_test(letter_that_is_posted_by_its_delivery_waits_for_the_next),
		cmocka_unit_test(letter_may_be_freed_by_its_delivery),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
