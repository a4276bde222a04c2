/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The module's metadata.  The versions that MODULE_DEPEND names are those of the
 * headers this was compiled against: the kernel linker refuses the module on
 * another branch before any of its code has run.
 */
#include "weft_shim.h"

#ifdef WEFT_TEST_BRANCH
#undef	__FreeBSD_version
#define	__FreeBSD_version	WEFT_TEST_BRANCH
#endif

moduledata_t weft_shim_moduledata = {
	.name = "weft",
	.evhand = weft_module_event,
	.priv = NULL,
};

DECLARE_MODULE(weft, weft_shim_moduledata, SI_SUB_PSEUDO, SI_ORDER_ANY);
MODULE_VERSION(weft, 1);
