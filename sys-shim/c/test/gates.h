/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Functions by which the module gets memory and what else may be short: in the build
 * for tests, calls of these go by gate.c first.  `cargo xtask` has the linker do that
 * for each name in this list.
 */
#ifndef _WEFT_GATES_H_
#define	_WEFT_GATES_H_

#define	WEFT_GATES(X) \
	X(malloc) \
	X(malloc_aligned) \
	X(kmem_malloc) \
	X(counter_u64_alloc) \
	X(uma_zalloc_arg) \
	X(m_get2) \
	X(m_getjcl) \
	X(m_copym) \
	X(m_dup) \
	X(m_collapse) \
	X(m_copyup) \
	X(m_prepend) \
	X(m_dup_pkthdr) \
	X(sysctl_add_oid) \
	X(eventhandler_register) \
	X(fib_get_nhop_idx) \
	X(ifc_alloc_unit) \
	X(pfil_add_hook) \
	X(taskqueue_start_threads_cpuset) \
	X(weft_shim_mbuf_embed) \
	X(weft_shim_dma_tag_new) \
	X(weft_shim_dma_block_new) \
	X(weft_shim_dma_map_new) \
	X(weft_shim_dma_map_load) \
	X(weft_shim_dma_map_load_memory) \
	X(weft_shim_bar_new) \
	X(weft_shim_irq_new) \
	X(weft_shim_irq_set_up) \
	X(weft_shim_pci_messages_new) \
	X(weft_shim_driver) \
	X(weft_shim_netmap_attach)

#endif /* !_WEFT_GATES_H_ */
