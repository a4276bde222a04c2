/* SPDX-License-Identifier: BSD-2-Clause */
/* Mutexes, mutex(9). */
#include "weft_shim.h"

void
weft_shim_mtx_init(struct mtx *mtx, const char *name)
{

	mtx_init(mtx, name, NULL, MTX_DEF | MTX_NEW);
}

void
weft_shim_mtx_destroy(struct mtx *mtx)
{

	mtx_destroy(mtx);
}

void
weft_shim_mtx_lock(struct mtx *mtx)
{

	mtx_lock(mtx);
}

void
weft_shim_mtx_unlock(struct mtx *mtx)
{

	mtx_unlock(mtx);
}
