//! A file seen as memory: the one place of this crate with unchecked code.
#![allow(unsafe_code, reason = "a memory map, and numbers seen in its bytes")]

use backcast_core::Real;
use memmap2::Mmap;
use std::fs::File;
use std::ops::Range;

/// A read-only map of a whole file.
pub(super) struct Map(Mmap);

impl Map {
    pub(super) fn new(file: &File) -> std::io::Result<Self> {
        // SAFETY: the map is read-only and private to this struct, so nothing here can write through it. What remains is
        // another program that changes or shortens the file while it is mapped: a file of this crate is only ever put in
        // place by a rename and never written again, which leaves an existing map with the old file; the documentation of
        // `Stored` tells whoever would do otherwise not to. Every value read from the map is a plain number, for which any
        // bytes are valid.
        unsafe { Mmap::map(file) }.map(Self)
    }

    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.0[range]
    }

    /// The numbers that the bytes of `range` are, if they are aligned and whole numbers of this machine's byte order.
    pub(super) fn reals(&self, range: Range<usize>) -> Option<&[Real]> {
        if cfg!(target_endian = "big") {
            return None;
        }
        // SAFETY: `Real` is `f32` or `f64`: no padding, no invalid bit pattern, no interior mutability. `align_to` takes care
        // of alignment and length, and what does not fit ends up in the parts that must be empty below.
        let (before, reals, after) = unsafe { self.0[range].align_to::<Real>() };
        (before.is_empty() && after.is_empty()).then_some(reals)
    }
}
