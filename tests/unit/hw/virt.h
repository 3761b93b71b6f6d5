/* SPDX-License-Identifier: MIT */
/*
 * Small guests through the real instructions: VMLAUNCH/VMRESUME and VMRUN, from
 * a VMCS or a VMCB to an exit, with the core underneath. guest.c supplies
 * memory, second-dimension tables and the start states; here they are copied into
 * the VMCS or VMCB. A test runs the same code on both vendors (FOR_BOTH) and
 * compares an exit in the vendor's own words (CODE).
 */
#ifndef ANYKVM_TESTS_HW_VIRT_H
#define ANYKVM_TESTS_HW_VIRT_H

#include "guest.h"
#include "vmx_env.h"
#include "x86/vmcb.h"

struct virt {
	struct guest *g;
	struct vmx_env e;		/* Intel: cpu, mem, vmxon, vmcs */
	struct vmcb *vmcb;		/* AMD */
	bool launched;
};

/* @start: guest_real, guest_prot, guest_long, guest_user. */
struct virt *virt_new(bool amd, void (*start)(struct guest *g));
void virt_free(struct virt *v);
bool is_amd(const struct virt *v);
/* One of P_VMXON ..., zeroed. */
uint8_t *page(struct virt *v, unsigned n);

/* Runs to the next exit: its reason or code. */
uint64_t run(struct virt *v);
uint64_t get_rip(struct virt *v);
void set_rip(struct virt *v, uint64_t rip);
/* Past the instruction that exited, by what the exit says of its length. */
void skip_insn(struct virt *v);
uint64_t get_rax(struct virt *v);
void set_rflags(struct virt *v, uint64_t f);
/* @type as both vendors number it: 0 interrupt, 2 NMI, 3 exception, 4 INT n. */
void inject(struct virt *v, unsigned vector, unsigned type);
/* The exception exits. */
void catch(struct virt *v, unsigned vector);

#define CODE(v, vmx, svm) (is_amd(v) ? (uint64_t)(svm) : (uint64_t)(vmx))
#define FOR_BOTH(v, start)						\
	for (int vendor = 0; vendor < 2; vendor++)			\
		for (struct virt *v = virt_new(vendor, start); v;	\
		     virt_free(v), v = NULL)

#endif
