// SPDX-License-Identifier: BSD-2-Clause
//! The guest's half of the agent. [`start`] is where the kernel enters; [`sys`] is
//! the only room that makes system calls; [`serve`] reads requests and answers
//! them; the rest are the commands, a file each.

mod address;
mod bulk;
mod churn;
mod clock;
mod command;
mod devctl;
mod echo;
mod ether;
mod exec;
mod faults;
mod filter;
mod flood;
mod fuzz;
mod graph;
mod group;
mod jail;
mod job;
mod kld;
mod link;
mod memory;
mod msgbuf;
mod netif;
mod netmap;
mod ping;
mod root;
mod route;
mod serve;
mod spent;
mod start;
mod sys;
mod sysctl;
mod table;
mod tap;
mod tcp;
mod text;
mod thread;
mod traffic;
mod user;
mod visible;
