/* SPDX-License-Identifier: MIT */
/*
 * IA32_ARCH_CAPABILITIES, and AMD's CPUID leaf 80000021h: the speculation faults that
 * guests need not guard against.
 *
 * Guest code runs on the host's units, and so does what it speculates about. Four
 * statements hold whatever the host is, because the guest's page tables are walked
 * by this program and never by the host's processor: a load is checked against the
 * TLB of tlb.c before it has a host address (RDCL_NO, with it L1TF), there is no L1D
 * to flush at an entry (SKIP_L1DFL), and page sizes change in no host TLB
 * (IF_PSCHANGE_MC_NO). What leaks through the units' buffers is the host's to say:
 * its kernel tells us what the processor is not affected by.
 *
 * Nothing is said of branch target injection: translated code branches as the host
 * does. SDM Vol. 4, "IA32_ARCH_CAPABILITIES".
 */
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "hw/core.h"
#include "x86/msr.h"

#define SYSFS "/sys/devices/system/cpu/vulnerabilities/"

/* clang-format off */
static const struct {
	const char *file;	/* of the host's kernel */
	uint64_t bits;
} host_says[] = {
	{ SYSFS "spec_store_bypass",	  ARCH_CAP_SSB_NO },
	{ SYSFS "mds",			  ARCH_CAP_MDS_NO },
	{ SYSFS "tsx_async_abort",	  ARCH_CAP_TAA_NO },
	{ SYSFS "mmio_stale_data",	  ARCH_CAP_SBDR_SSDP_NO | ARCH_CAP_FBSDP_NO |
					  ARCH_CAP_PSDP_NO },
	{ SYSFS "gather_data_sampling",	  ARCH_CAP_GDS_NO },
	{ SYSFS "reg_file_data_sampling", ARCH_CAP_RFDS_NO },
	{ SYSFS "indirect_target_selection", ARCH_CAP_ITS_NO },
};
/* clang-format on */

static bool not_affected(const char *file)
{
	static const char want[] = "Not affected";
	char text[sizeof(want)] = "";
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	return n == sizeof(want) - 1 && !strcmp(text, want);
}

static uint64_t capabilities;

static void init(void)
{
	unsigned i;

	capabilities = ARCH_CAP_RDCL_NO | ARCH_CAP_SKIP_L1DFL |
		       ARCH_CAP_IF_PSCHANGE_MC_NO;
	for (i = 0; i < ARRAY_SIZE(host_says); i++)
		if (not_affected(host_says[i].file))
			capabilities |= host_says[i].bits;
}

/* APM Vol. 3, "Function 8000_0021h": SRSO_NO; TSA_SQ_NO and TSA_L1_NO. */
void hw_amd_not_affected(uint32_t *eax, uint32_t *ecx)
{
	if (not_affected(SYSFS "spec_rstack_overflow"))
		*eax |= BIT(29);
	if (not_affected(SYSFS "tsa"))
		*ecx |= BIT(1) | BIT(2);
}

uint64_t hw_arch_capabilities(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, init);
	return capabilities;
}
