//! The contract between the monitor, the cell and the kernel.
//!
//! Everything that two of them see in shared memory is defined here and nowhere
//! else: where things lie ([`layout`]), what the kernel is told at its start
//! ([`boot`]), the calls by which a kernel in a cell asks its stub ([`cell`]), the
//! pages through which devices and virtual CPUs talk ([`device`], [`vcpu`]), the calls of
//! a kernel at ring 0 ([`bare`]), how a machine ends ([`report`]), and the FUSE protocol of its file systems ([`fuse`]).
//!
//! It depends on nothing of Husk's and contains no behaviour beyond encoding. Both
//! sides treat what they read from shared memory as written by an enemy: copy once,
//! check, use.
#![no_std]
#![forbid(unsafe_code)]

pub mod bare;
pub mod boot;
pub mod cell;
pub mod device;
pub mod fuse;
pub mod layout;
pub mod report;
pub mod vcpu;
