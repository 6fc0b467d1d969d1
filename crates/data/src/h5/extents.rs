//! Whether all rows of a dataset are in the file: every chunk its shape needs, once, inside the file, sharing bytes with no other.
//!
//! Where a chunk is not found, readers of HDF5 give the fill value, which is what the format wants of a dataset that is being
//! written. In a recorded dataset it is a hole: observations of zeros that nothing would notice later.

use super::frame::{Fault, Frame, word};
use rust_hdf5::format::UNDEF_ADDR;
use rust_hdf5::format::btree_v1::ChunkBTreeV1Node;
use rust_hdf5::format::checksum::checksum_metadata;
use rust_hdf5::format::chunk_index::btree_v2::{BT2_TYPE_CHUNK_FILT, BT2_TYPE_CHUNK_UNFILT};
use rust_hdf5::format::chunk_index::extensible_array::{
    EA_CLS_FILT_CHUNK, EaGeometry, ExtensibleArrayDataBlock, ExtensibleArrayHeader, ExtensibleArrayIndexBlock,
    ExtensibleArraySuperBlock, FilteredDataBlock, FilteredIndexBlock,
};
use rust_hdf5::format::chunk_index::fixed_array::{
    FA_CLIENT_FILT_CHUNK, FixedArrayDataBlock, FixedArrayHeader, FixedArrayPagedPrefix, decode_filtered_page,
    decode_unfiltered_page,
};
use rust_hdf5::format::messages::data_layout::{ChunkIndexType, DataLayoutMessage, EarrayParams};
use std::collections::HashSet;

/// What is wrong with where the rows lie.
pub(super) enum Hole {
    /// Parts that are there, parts that should be, the first row of the first that is not.
    Missing { found: u64, expected: u64, row: u64 },
    /// Anything else, in words.
    Words(String),
}

impl<T: Into<Fault>> From<T> for Hole {
    fn from(fault: T) -> Self {
        Self::Words(super::frame::words(&fault.into()))
    }
}

/// A dataset's shape, as the library tells it.
pub(super) struct Extent {
    pub(super) shape: Vec<u64>,
    /// How far each axis may grow; `u64::MAX` without bound.
    pub(super) most: Vec<u64>,
    /// Bytes of an element.
    pub(super) width: u64,
}

/// A piece of the file: address and bytes.
type Piece = (u64, u64);

/// A dataset's chunks, as its index has them.
struct Chunks<'a> {
    frame: &'a Frame,
    extent: &'a Extent,
    /// Elements of a chunk along each axis.
    chunk: &'a [u64],
    /// Chunks that are there: place in the grid, and piece of the file.
    found: Vec<(u64, Piece)>,
}

/// Checks the dataset whose object header lies at `header`; what its shape and chunks declare has been compared with the file's
/// length before.
pub(super) fn whole(frame: &Frame, header: u64, extent: &Extent) -> Result<(), Hole> {
    if extent.shape.contains(&0) {
        return Ok(());
    }
    let all = extent.shape.iter().try_fold(extent.width, |bytes, &n| bytes.checked_mul(n)).ok_or_else(absurd)?;
    let layout = frame.layout(header)?;
    let (chunk, index) = match &layout {
        DataLayoutMessage::Contiguous { address: UNDEF_ADDR, .. } => {
            return Err(Hole::Missing { found: 0, expected: 1, row: 0 });
        }
        DataLayoutMessage::Contiguous { address, size } if *size < all => {
            return Err(Hole::Words(format!("{size} bytes are kept for it at {address}, and its shape needs {all}")));
        }
        DataLayoutMessage::Contiguous { address, .. } => return inside(frame, (*address, all)),
        DataLayoutMessage::ChunkedV3 { chunk_dims, b_tree_address } => (chunk_dims, *b_tree_address),
        DataLayoutMessage::ChunkedV4 { chunk_dims, index_address, .. } => (chunk_dims, *index_address),
        // What stands in the header was read with it; rows in other files are refused elsewhere.
        _ => return Ok(()),
    };
    let chunk = &chunk[..chunk.len().saturating_sub(1)];
    if chunk.len() != extent.shape.len() || extent.most.len() != extent.shape.len() || chunk.contains(&0) {
        return Err(Hole::Words(format!("chunks {chunk:?} for shape {:?}", extent.shape)));
    }
    let mut chunks = Chunks { frame, extent, chunk, found: Vec::new() };
    if index != UNDEF_ADDR {
        match &layout {
            DataLayoutMessage::ChunkedV3 { .. } => chunks.tree(index)?,
            DataLayoutMessage::ChunkedV4 { index_type, earray_params, single_chunk_filter, .. } => match index_type {
                ChunkIndexType::SingleChunk => {
                    let bytes = single_chunk_filter.map_or_else(|| chunks.bytes(), |filter| Ok(filter.nbytes))?;
                    chunks.found.push((0, (index, bytes)));
                }
                ChunkIndexType::Implicit => chunks.implicit(index)?,
                ChunkIndexType::FixedArray => chunks.fixed(index)?,
                ChunkIndexType::ExtensibleArray => {
                    let parameters = earray_params.as_ref().ok_or_else(|| "an index without its sizes".to_string())?;
                    chunks.extensible(index, parameters)?;
                }
                ChunkIndexType::BTreeV2 => chunks.records(index)?,
            },
            _ => {}
        }
    }
    chunks.complete()
}

fn absurd() -> Hole {
    Hole::Words("a shape that is no number of bytes".into())
}

/// Whether a piece lies in the file.
fn inside(frame: &Frame, (address, bytes): Piece) -> Result<(), Hole> {
    if address.checked_add(bytes).is_some_and(|end| end <= frame.length) {
        return Ok(());
    }
    let length = frame.length;
    Err(Hole::Words(format!("{bytes} of its bytes lie at {address}, and the file ends at {length} bytes")))
}

impl Chunks<'_> {
    /// Bytes of a chunk that no filter has touched.
    fn bytes(&self) -> Result<u64, Hole> {
        self.chunk.iter().try_fold(self.extent.width, |bytes, &n| bytes.checked_mul(n)).ok_or_else(absurd)
    }

    /// Chunks along each axis, of the present shape, or of the shape it may grow to.
    fn grid(&self, shape: &[u64]) -> Vec<u64> {
        shape.iter().zip(self.chunk).map(|(&n, &c)| n.div_ceil(c)).collect()
    }

    /// Notes the chunk at the coordinates `at`, if it is there and within the present shape.
    fn note(&mut self, at: &[u64], (address, bytes): Piece) -> Result<(), Hole> {
        let grid = self.grid(&self.extent.shape);
        if address == UNDEF_ADDR || bytes == 0 || at.iter().zip(&grid).any(|(at, n)| at >= n) {
            return Ok(());
        }
        inside(self.frame, (address, bytes))?;
        let place = at.iter().zip(&grid).try_fold(0u64, |place, (&at, &n)| place.checked_mul(n)?.checked_add(at));
        self.found.push((place.ok_or_else(absurd)?, (address, bytes)));
        Ok(())
    }

    /// The axes from the slowest to the fastest in a linear index, and chunks along each: the axis that grows without bound is
    /// the slowest, and the others count to the end of what they may grow to.
    fn axes(&self) -> Result<Vec<(usize, u64)>, Hole> {
        let endless: Vec<usize> = (0..self.chunk.len()).filter(|&axis| self.extent.most[axis] == u64::MAX).collect();
        let slowest = match endless[..] {
            [] => 0,
            [axis] => axis,
            _ => return Err(Hole::Words("an index in a row, for a shape that grows in two directions".into())),
        };
        let (now, most) = (self.grid(&self.extent.shape), self.grid(&self.extent.most));
        let count = |axis: usize| if axis == slowest && !endless.is_empty() { now[axis] } else { most[axis] };
        let order = std::iter::once(slowest).chain((0..self.chunk.len()).filter(|&axis| axis != slowest));
        Ok(order.map(|axis| (axis, count(axis).max(1))).collect())
    }

    /// How many places of a linear index the present shape may reach.
    fn places(&self) -> Result<u64, Hole> {
        self.axes()?.iter().try_fold(1u64, |places, (_, n)| places.checked_mul(*n)).ok_or_else(absurd)
    }

    /// Notes the chunk at `place` of a linear index.
    fn note_linear(&mut self, axes: &[(usize, u64)], place: u64, piece: Piece) -> Result<(), Hole> {
        let (mut at, mut rest) = (vec![0; axes.len()], place);
        for (i, &(axis, n)) in axes.iter().enumerate().rev() {
            at[axis] = if i == 0 { rest } else { rest % n };
            rest /= n;
        }
        self.note(&at, piece)
    }

    /// The version-1 B-tree of the first files.
    fn tree(&mut self, root: u64) -> Result<(), Hole> {
        let (rank, ranks, address_width) = (self.chunk.len(), self.frame.ranks, self.frame.widths.sizeof_addr as usize);
        let size = ranks.chunk_btree_node_size(address_width, rank);
        let (mut visited, mut open) = (HashSet::new(), vec![(root, None)]);
        while let Some((address, level)) = open.pop() {
            if !visited.insert(address) {
                return Err(Hole::Words("its index grows into itself".into()));
            }
            let node = self.frame.at_most(address, size)?;
            let node = ChunkBTreeV1Node::decode(&node, address_width, rank, ranks.chunk_max_entries())?;
            if level.is_some_and(|level: u32| node.level as u32 + 1 != level) {
                return Err(Hole::Words("the levels of its index are out of order".into()));
            }
            if node.level > 0 {
                open.extend(node.children.into_iter().map(|child| (child, Some(node.level as u32))));
                continue;
            }
            for (key, &child) in node.keys.iter().zip(&node.children) {
                let at: Vec<u64> = key.offsets.iter().zip(self.chunk).map(|(offset, n)| offset / n).collect();
                self.note(&at, (child, key.chunk_size as u64))?;
            }
        }
        Ok(())
    }

    /// No index: chunk after chunk from an address on.
    fn implicit(&mut self, first: u64) -> Result<(), Hole> {
        let (axes, places, bytes) = (self.axes()?, self.places()?, self.bytes()?);
        // The last one tells whether there are as many, before they are counted one by one.
        inside(self.frame, (first, places.checked_mul(bytes).ok_or_else(absurd)?))?;
        (0..places).try_for_each(|place| self.note_linear(&axes, place, (first + place * bytes, bytes)))
    }

    /// A fixed array, in one block or in pages.
    fn fixed(&mut self, address: u64) -> Result<(), Hole> {
        let widths = self.frame.widths;
        let header = FixedArrayHeader::decode(&self.frame.at_most(address, 256)?, &widths)?;
        if header.data_blk_addr == UNDEF_ADDR {
            return Ok(());
        }
        let (axes, bytes, filtered) = (self.axes()?, self.bytes()?, header.client_id == FA_CLIENT_FILT_CHUNK);
        let width = header.element_size as usize;
        let sized = width.checked_sub(widths.sizeof_addr as usize + 4).filter(|n| *n <= 8);
        let sized = if filtered { sized.ok_or_else(|| "an index of impossible sizes".to_string())? } else { 0 };
        let room = header.num_elmts.checked_mul(width as u64).filter(|room| *room <= self.frame.length);
        let count =
            room.ok_or_else(|| "an index larger than the file".to_string()).map(|_| header.num_elmts as usize)?;
        let block = header.data_blk_addr;
        let pieces = |page: &[u8], count: usize| -> Result<Vec<Piece>, Hole> {
            Ok(if filtered {
                let found = decode_filtered_page(page, &widths, count, sized)?;
                found.into_iter().map(|e| (e.address, e.chunk_size)).collect()
            } else {
                decode_unfiltered_page(page, &widths, count)?.into_iter().map(|address| (address, bytes)).collect()
            })
        };
        if !header.is_paged() {
            let size = 10 + widths.sizeof_addr as usize + count * width;
            let data = self.frame.bytes(block, size)?;
            let found: Vec<Piece> = if filtered {
                let elements = FixedArrayDataBlock::decode_filtered(&data, &widths, count, sized)?.filtered_elements;
                elements.into_iter().map(|e| (e.address, e.chunk_size)).collect()
            } else {
                let elements = FixedArrayDataBlock::decode_unfiltered(&data, &widths, count)?.elements;
                elements.into_iter().map(|address| (address, bytes)).collect()
            };
            return (0..).zip(found).try_for_each(|(place, piece)| self.note_linear(&axes, place, piece));
        }
        let (pages, in_page) = (header.npages(), header.dblk_page_nelmts() as usize);
        let prefix_size = 10 + widths.sizeof_addr as usize + (pages as usize).div_ceil(8);
        let prefix = FixedArrayPagedPrefix::decode(&self.frame.bytes(block, prefix_size)?, &widths, pages)?;
        let begun = |page: &usize| {
            // A bit for each page, the highest first.
            prefix.page_init_bitmap.get(page / 8).is_some_and(|flags| flags & (0x80 >> (page % 8)) != 0)
        };
        for page in (0..pages as usize).filter(begun) {
            let here = in_page.min(count - page * in_page);
            let at = block + (prefix.prefix_size + page * (in_page * width + 4)) as u64;
            let found = pieces(&self.frame.bytes(at, here * width + 4)?, here)?;
            let first = (page * in_page) as u64;
            (first..).zip(found).try_for_each(|(place, piece)| self.note_linear(&axes, place, piece))?;
        }
        Ok(())
    }

    /// An extensible array: places in its index block, then in data blocks, then in data blocks of super blocks.
    fn extensible(&mut self, address: u64, p: &EarrayParams) -> Result<(), Hole> {
        let (frame, widths) = (self.frame, self.frame.widths);
        let header = ExtensibleArrayHeader::decode(&frame.at_most(address, 256)?, &widths)?;
        if header.idx_blk_addr == UNDEF_ADDR {
            return Ok(());
        }
        let geometry = EaGeometry::new(
            p.idx_blk_elmts,
            p.data_blk_min_elmts,
            p.sup_blk_min_data_ptrs,
            p.max_nelmts_bits,
            p.max_dblk_page_nelmts_bits,
        )?;
        let (axes, places, bytes) = (self.axes()?, self.places()?, self.bytes()?);
        let (filtered, width, a) =
            (header.class_id == EA_CLS_FILT_CHUNK, header.raw_elmt_size as usize, widths.sizeof_addr as usize);
        let sized = width.checked_sub(a + 4).filter(|n| *n <= 8);
        let sized = if filtered { sized.ok_or_else(|| "an index of impossible sizes".to_string())? as u8 } else { 0 };
        let width = if filtered { width } else { a };
        let whole = |addresses: Vec<u64>| addresses.into_iter().map(|address| (address, bytes)).collect::<Vec<Piece>>();

        let (n, blocks, supers) = (p.idx_blk_elmts as usize, geometry.ndblk_addrs, geometry.nsblk_addrs);
        let data = frame.bytes(header.idx_blk_addr, 10 + a + n * width + (blocks + supers) * a)?;
        let (found, blocks, supers) = if filtered {
            let block = FilteredIndexBlock::decode(&data, &widths, n, blocks, supers, sized)?;
            let found = block.elements.iter().map(|e| (e.addr, e.nbytes)).collect();
            (found, block.dblk_addrs, block.sblk_addrs)
        } else {
            let block = ExtensibleArrayIndexBlock::decode(&data, &widths, n, blocks, supers)?;
            (whole(block.elements), block.dblk_addrs, block.sblk_addrs)
        };
        (0..places).zip(found).try_for_each(|(place, piece)| self.note_linear(&axes, place, piece))?;

        for (u, part) in geometry.sblk.iter().enumerate() {
            let first = p.idx_blk_elmts as u64 + part.start_idx;
            if first >= places {
                break;
            }
            // No more blocks of it matter than the shape reaches.
            let count = (places - first).div_ceil(part.dblk_nelmts).min(part.ndblks) as usize;
            let (pages, paged) = (geometry.npages(u) as usize, geometry.is_sblk_paged(u));
            let (addresses, begun) = if u < geometry.iblock_nsblks {
                (blocks.iter().skip(part.start_dblk as usize).take(count).copied().collect::<Vec<_>>(), Vec::new())
            } else {
                let at = supers.get(u - geometry.iblock_nsblks).copied().unwrap_or(UNDEF_ADDR);
                if at == UNDEF_ADDR {
                    continue;
                }
                let all = part.ndblks as usize;
                let flags =
                    if paged { all.checked_mul(geometry.dblk_page_init_size(u)).ok_or_else(absurd)? } else { 0 };
                let offset = ExtensibleArrayDataBlock::block_offset_size(p.max_nelmts_bits);
                let size = all.checked_mul(a).and_then(|size| size.checked_add(10 + a + offset + flags));
                let data = frame.bytes(at, size.ok_or_else(absurd)?)?;
                let block = ExtensibleArraySuperBlock::decode(&data, &widths, p.max_nelmts_bits, all, flags)?;
                (block.dblk_addrs, block.page_init)
            };
            let prefix = geometry.dblk_prefix_size(widths.sizeof_addr, p.max_nelmts_bits);
            for (d, &at) in addresses.iter().take(count).enumerate().filter(|(_, at)| **at != UNDEF_ADDR) {
                let first = first + d as u64 * part.dblk_nelmts;
                let elements = part.dblk_nelmts as usize;
                let found: Vec<(u64, Piece)> = if paged {
                    self.pages(at + prefix as u64, &geometry, (d, pages), &begun, (filtered, width, bytes))?
                } else {
                    let data = frame.bytes(at, prefix + elements * width)?;
                    let found = if filtered {
                        let block = FilteredDataBlock::decode(&data, &widths, p.max_nelmts_bits, elements, sized)?;
                        block.elements.iter().map(|e| (e.addr, e.nbytes)).collect()
                    } else {
                        whole(ExtensibleArrayDataBlock::decode(&data, &widths, p.max_nelmts_bits, elements)?.elements)
                    };
                    (0..).zip(found).collect()
                };
                for (offset, piece) in found.into_iter().filter(|(offset, _)| first + offset < places) {
                    self.note_linear(&axes, first + offset, piece)?;
                }
            }
        }
        Ok(())
    }

    /// The pages of the data block `d` of a super block, from the address `at` on, with their places in it; `begun` has a bit for each
    /// page that is there.
    fn pages(
        &self,
        at: u64,
        geometry: &EaGeometry,
        (d, pages): (usize, usize),
        begun: &[u8],
        (filtered, width, bytes): (bool, usize, u64),
    ) -> Result<Vec<(u64, Piece)>, Hole> {
        let (mut found, size) = (Vec::new(), geometry.dblk_page_size(width));
        for page in 0..pages {
            let bit = d * pages + page;
            if begun.get(bit / 8).is_none_or(|flags| flags & (0x80 >> (bit % 8)) == 0) {
                continue;
            }
            let data = self.frame.bytes(at + (page * size) as u64, size)?;
            let (body, sum) = data.split_last_chunk::<4>().ok_or_else(absurd)?;
            if !crate::arrays::holds(checksum_metadata(body), u32::from_le_bytes(*sum)) {
                return Err(Hole::Words("the checksum of a page of its index does not hold".into()));
            }
            let address = self.frame.widths.sizeof_addr as usize;
            let first = page as u64 * geometry.dblk_page_nelmts;
            found.extend((first..).zip(body.chunks_exact(width)).map(|(place, element)| {
                let size = if filtered { word(&element[address..width - 4]) } else { bytes };
                (place, (word(&element[..address]), size))
            }));
        }
        Ok(found)
    }

    /// A version-2 B-tree, for shapes that grow in more than one direction.
    fn records(&mut self, address: u64) -> Result<(), Hole> {
        let (header, records) = self.frame.records(address)?;
        let (rank, a, bytes) = (self.chunk.len(), self.frame.widths.sizeof_addr as usize, self.bytes()?);
        let width = header.record_size as usize;
        let sized = match header.record_type {
            BT2_TYPE_CHUNK_UNFILT if width == a + 8 * rank => None,
            BT2_TYPE_CHUNK_FILT => width.checked_sub(a + 4 + 8 * rank).filter(|n| (1..=8).contains(n)),
            _ => return Err(Hole::Words("its index is the index of something else".into())),
        };
        for record in records.chunks_exact(width) {
            // The address; its length and a mask, if filtered; the coordinates.
            let piece = (word(&record[..a]), sized.map_or(bytes, |n| word(&record[a..a + n])));
            let at: Vec<u64> = record[width - 8 * rank..].chunks_exact(8).map(word).collect();
            self.note(&at, piece)?;
        }
        Ok(())
    }

    /// Whether every chunk of the present shape was found, once, in a piece of the file of its own.
    fn complete(mut self) -> Result<(), Hole> {
        let grid = self.grid(&self.extent.shape);
        let expected = grid.iter().try_fold(1u64, |n, &m| n.checked_mul(m)).ok_or_else(absurd)?;
        self.found.sort_unstable();
        let row = |place: u64| {
            let behind: u64 = grid[1..].iter().product();
            (place / behind.max(1)).saturating_mul(self.chunk[0])
        };
        if let Some(twice) = self.found.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Hole::Words(format!("its index has the chunk of row {} twice", row(twice[0].0))));
        }
        let found = self.found.len() as u64;
        if found != expected {
            let gap =
                (0..).zip(&self.found).find(|(place, (other, _))| place != other).map_or(found, |(place, _)| place);
            return Err(Hole::Missing { found, expected, row: row(gap) });
        }
        let mut pieces: Vec<Piece> = self.found.iter().map(|(_, piece)| *piece).collect();
        pieces.sort_unstable();
        match pieces.windows(2).find(|pair| pair[0].0 + pair[0].1 > pair[1].0) {
            Some(pair) => {
                Err(Hole::Words(format!("two of its chunks share bytes, at {} and at {}", pair[0].0, pair[1].0)))
            }
            None => Ok(()),
        }
    }
}
