/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSI_CODES_H
#define SCSI_CODES_H

/*
 * Numbers of the standards: sense keys, additional sense codes (and their qualifiers, in the low byte),
 * reservations.
 */

#define KEY_NO_SENSE	    0x0
#define KEY_NOT_READY	    0x2
#define KEY_MEDIUM_ERROR    0x3
#define KEY_HARDWARE_ERROR  0x4
#define KEY_ILLEGAL_REQUEST 0x5
#define KEY_UNIT_ATTENTION  0x6
#define KEY_DATA_PROTECT    0x7
#define KEY_COPY_ABORTED    0xa
#define KEY_ABORTED_COMMAND 0xb
#define KEY_MISCOMPARE	    0xe

#define ASC_STOPPED		  0x0402 /* LOGICAL UNIT NOT READY, INITIALIZING COMMAND REQUIRED */
#define ASC_WRITE_ERROR		  0x0c00
#define ASC_READ_ERROR		  0x1100
#define ASC_LIST_LENGTH		  0x1a00
#define ASC_MISCOMPARE		  0x1d00
#define ASC_OPCODE		  0x2000
#define ASC_LBA			  0x2100
#define ASC_CDB_FIELD		  0x2400
#define ASC_LUN			  0x2500
#define ASC_LIST_FIELD		  0x2600
#define ASC_RELEASE		  0x2604 /* INVALID RELEASE OF PERSISTENT RESERVATION */
#define ASC_WRITE_PROTECTED	  0x2700
#define ASC_SPACE		  0x2707 /* SPACE ALLOCATION FAILED WRITE PROTECT */
#define ASC_POWER_ON		  0x2900
#define ASC_RESET		  0x2903 /* BUS DEVICE RESET FUNCTION OCCURRED */
#define ASC_NEXUS_LOSS		  0x2907
#define ASC_MODES		  0x2a01
#define ASC_RESERVATIONS_PREEMPTED 0x2a03
#define ASC_RESERVATIONS_RELEASED 0x2a04
#define ASC_REGISTRATIONS_PREEMPTED 0x2a05
#define ASC_CAPACITY		  0x2a09
#define ASC_CLEARED		  0x2f00
#define ASC_SAVING		  0x3900
#define ASC_LUNS		  0x3f0e
#define ASC_INTERNAL		  0x4400
#define ASC_MESSAGE		  0x4900 /* INVALID MESSAGE ERROR */
#define ASC_REGISTRATIONS	  0x5504 /* INSUFFICIENT REGISTRATION RESOURCES */

/* Types of persistent reservations. */
#define RESERVE_WRITE		      1
#define RESERVE_EXCLUSIVE	      3
#define RESERVE_WRITE_REGISTRANTS     5
#define RESERVE_EXCLUSIVE_REGISTRANTS 6
#define RESERVE_WRITE_ALL	      7
#define RESERVE_EXCLUSIVE_ALL	      8

#endif
