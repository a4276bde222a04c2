// SPDX-License-Identifier: BSD-2-Clause
// The layout, on amd64, of every kernel structure that both sides look into:
// name, size, and the offset of each field that is used. The C shim asserts it
// with the kernel's own declarations and the Rust declarations assert it, too,
// so that neither compiler can be wrong about the other. Included by the build
// scripts of `weft-bindings` and `weft-shim`.
type Field = (&'static str, usize);
const LAYOUT: &[(&str, usize, &[Field])] = &[
    (
        "fib_lookup_module",
        168,
        &[
            ("flm_name", 0),
            ("flm_family", 8),
            ("flm_init_cb", 24),
            ("flm_destroy_cb", 32),
            ("flm_change_rib_item_cb", 40),
            ("flm_dump_rib_item_cb", 48),
            ("flm_dump_end_cb", 56),
            ("flm_lookup", 64),
            ("flm_get_pref", 72),
            ("flm_change_rib_items_cb", 80),
        ],
    ),
    ("fib_dp", 16, &[("f", 0), ("arg", 8)]),
    (
        "rib_cmd_info",
        32,
        &[
            ("rc_cmd", 0),
            ("rc_rt", 8),
            ("rc_nh_old", 16),
            ("rc_nh_new", 24),
        ],
    ),
    (
        "fib_change_entry",
        40,
        &[("scopeid", 16), ("plen", 20), ("nh_old", 24), ("nh_new", 32)],
    ),
    ("fib_change_queue", 16, &[("count", 0), ("entries", 8)]),
    (
        "rib_rtable_info",
        12,
        &[("num_prefixes", 0), ("num_nhops", 4), ("num_nhgrp", 8)],
    ),
    ("epoch_tracker", 32, &[]),
    ("epoch_context", 16, &[]),
    ("rm_priotracker", 56, &[]),
    ("sysctl_ctx_list", 16, &[]),
    ("mtx", 32, &[]),
    ("task", 32, &[]),
    ("in_addr", 4, &[("s_addr", 0)]),
    (
        "sockaddr_in",
        16,
        &[("sin_len", 0), ("sin_family", 1), ("sin_addr", 4)],
    ),
    ("in6_addr", 16, &[]),
    (
        "sockaddr_in6",
        28,
        &[("sin6_len", 0), ("sin6_family", 1), ("sin6_addr", 8)],
    ),
    (
        "weightened_nhop",
        16,
        &[("nh", 0), ("weight", 8), ("storage", 12)],
    ),
];
