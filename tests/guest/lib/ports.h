/* SPDX-License-Identifier: MIT */
/* The machine that the runner builds: what guests and runner agree on. */
#ifndef ANYKVM_TESTS_GUEST_PORTS_H
#define ANYKVM_TESTS_GUEST_PORTS_H

#define RAM_SIZE		0x2000000	/* at 0 */
#define NR_VCPUS_MAX		8

/* Reports: the address of a string, then what became of it. */
#define PORT_REPORT_NAME	0xf0
#define PORT_REPORT		0xf1
#define PORT_NOTE		0xf2	/* address of a string to print */
#define PORT_EXIT		0xf4	/* status: 0 when the guest got to its end */
#define REPORT_FAIL		0
#define REPORT_PASS		1
#define REPORT_SKIP		2

/* Port I/O. */
#define PORT_RAM		0x100	/* 8 bytes of memory, any size of access */
#define PORT_FIFO		0x110	/* out pushes, in pops; 4096 bytes */
#define PORT_MMIO_EVENTS	0x120	/* signals of an eventfd since last asked */
#define PORT_PIO_EVENTS		0x124
#define PORT_EVENTFD		0x130	/* ioeventfd, 2 bytes wide, any value */
#define PORT_IRQ_PULSE		0x140	/* a GSI, up and down */
#define PORT_IRQ_LEVEL		0x144	/* GSI | level << 8 */
#define PORT_ON_SHUTDOWN	0x14c	/* RIP to go on at after a triple fault */
#define PORT_NMI		0x148	/* KVM_NMI on the vCPU that asks */
#define PORT_CLOCK_LO		0x150	/* KVM_GET_CLOCK, latched by the low half */
#define PORT_CLOCK_HI		0x154
#define PORT_EXITS		0x158	/* exits to the runner so far, this one in */
#define PORT_POKE		0x160	/* a thread of the runner stores this value */
#define PORT_POKE_ADDR		0x164	/* ... there, */
#define PORT_POKE_FLAG		0x168	/* and then there */

/* Memory-mapped. */
#define MMIO_RAM		0xe0000000	/* bytes that keep what is written */
#define MMIO_RAM_SIZE		0x2000
#define MMIO_LOG		0xe0004000	/* words, see below; not logged */
#define MMIO_LOG_COUNT		(MMIO_LOG + 0)	/* accesses; reading clears */
#define MMIO_LOG_LEN		(MMIO_LOG + 4)	/* of the last access */
#define MMIO_LOG_ADDR		(MMIO_LOG + 8)
#define MMIO_LOG_WRITE		(MMIO_LOG + 12)
#define MMIO_EVENTFD		0xe0008000	/* ioeventfd, any length */
#define MMIO_EVENTFD_MATCH	0xe0008010	/* 4 bytes, this value: */
#define MMIO_EVENTFD_VALUE	0x1234
#define MMIO_EDGE		RAM_SIZE	/* 4 KiB as MMIO_RAM, after memory */
#endif
