//! The frame of an HDF5 file, walked by ourselves: where it ends, which objects are linked in it, and where their headers lie.
//!
//! The library that reads the rows is lenient where we must not be: it does not compare a file's length with the end that its
//! superblock records, leaves out of its listing what it cannot read, and gives fill values for chunks it does not find. So the
//! file is looked through a second time here, with the library's own decoders of single blocks, which compare magic words and
//! checksums, and with walks of ours from block to block: each block is visited once, whatever its neighbours say, and must lie
//! in the file. [`extents`](super::extents) does the same with the rows of one dataset.

use rust_hdf5::format::btree_v1::{BTreeV1Config, BTreeV1Node};
use rust_hdf5::format::checksum::checksum_metadata;
use rust_hdf5::format::chunk_index::btree_v2::{Bt2Geometry, Bt2Header, Bt2InternalNode, Bt2LeafNode};
use rust_hdf5::format::fractal_heap::{FractalHeapHeader, HeapId, collect_managed_blocks, read_heap_object};
use rust_hdf5::format::local_heap::{LocalHeapHeader, local_heap_get_string};
use rust_hdf5::format::messages::data_layout::DataLayoutMessage;
use rust_hdf5::format::messages::link::{LinkMessage, LinkTarget};
use rust_hdf5::format::messages::link_info::LinkInfoMessage;
use rust_hdf5::format::messages::superblock_ext::BtreeKMessage;
use rust_hdf5::format::messages::{
    MSG_BTREE_K, MSG_DATA_LAYOUT, MSG_DATATYPE, MSG_LINK, MSG_LINK_INFO, MSG_OBJ_HEADER_CONTINUATION, MSG_SYMBOL_TABLE,
};
use rust_hdf5::format::object_header::{OCHK_SIGNATURE, OHDR_SIGNATURE, ObjectHeader, ObjectHeaderMessage};
use rust_hdf5::format::superblock::{HDF5_SIGNATURE, SuperblockV0V1, SuperblockV2V3, SymbolTableCache};
use rust_hdf5::format::symbol_table::SymbolTableNode;
use rust_hdf5::format::{BlockReader, FormatContext, FormatError, UNDEF_ADDR};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

/// No path in a file is deeper.
const DEEPEST: usize = 64;

/// The first bytes of an object header that are read before it is known how long it is.
const HEADER: usize = 512;

/// What keeps a file from being looked through.
pub(super) enum Fault {
    /// It ends at the first number, and should at the second.
    Cut(u64, u64),
    /// Anything else, in words.
    Words(String),
}

impl From<String> for Fault {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

impl From<FormatError> for Fault {
    fn from(error: FormatError) -> Self {
        Self::Words(error.to_string())
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Words(error.to_string())
    }
}

/// What a link leads to.
#[derive(Clone, Copy, PartialEq)]
enum Object {
    Group,
    Dataset,
    /// A type with a name: no rows, and nothing below it.
    Type,
}

/// An open file, and what is linked in it.
pub(super) struct Frame {
    blocks: Mutex<File>,
    /// Where addresses are counted from.
    base: u64,
    /// The length of the file, counted from there.
    pub(super) length: u64,
    pub(super) widths: FormatContext,
    pub(super) ranks: BTreeV1Config,
    root: u64,
    /// The links of each group, by the address of its header: names, and where the headers of what they name lie.
    groups: HashMap<u64, BTreeMap<String, u64>>,
    /// What is linked and cannot be read, by its path, and why.
    pub(super) unreadable: BTreeMap<String, String>,
    /// The paths of links that name a path instead of an object, here or in another file.
    pub(super) loose: Vec<String>,
}

/// The links of one group.
#[derive(Default)]
struct Links {
    /// Names, and where the headers of what they name lie.
    hard: BTreeMap<String, u64>,
    /// Names of links to paths.
    loose: Vec<String>,
}

impl Frame {
    /// Looks through `file`, `length` bytes long.
    pub(super) fn open(mut file: File, length: u64) -> Result<Self, Fault> {
        let (base, start) = superblock(&mut file, length)?;
        let version = *start.get(8).ok_or_else(|| "its superblock is cut short".to_string())?;
        let (stored_base, end, root, extension, widths, mut ranks) = if version < 2 {
            let found = SuperblockV0V1::decode(&start)?;
            let usual = BTreeV1Config::default();
            let ranks = BTreeV1Config {
                sym_leaf_k: found.sym_leaf_k,
                snode_internal_k: found.btree_internal_k,
                chunk_internal_k: found.indexed_storage_k.unwrap_or(usual.chunk_internal_k),
            };
            let widths = FormatContext { sizeof_addr: found.sizeof_offsets, sizeof_size: found.sizeof_lengths };
            let root = found.root_symbol_table_entry.obj_header_addr;
            let extension = found.superblock_extension_address;
            (found.base_address, found.end_of_file_address, root, extension, widths, ranks)
        } else {
            let found = SuperblockV2V3::decode(&start)?;
            let widths = FormatContext { sizeof_addr: found.sizeof_offsets, sizeof_size: found.sizeof_lengths };
            let (root, extension) = (found.root_group_object_header_address, found.superblock_extension_address);
            (found.base_address, found.end_of_file_address, root, extension, widths, BTreeV1Config::default())
        };
        // The end is counted from the start of the file, and moves with whatever was put before it later.
        let end = end.saturating_sub(stored_base).saturating_add(base);
        if length < end {
            return Err(Fault::Cut(length, end));
        }
        if ![2, 4, 8].contains(&widths.sizeof_addr) || ![2, 4, 8].contains(&widths.sizeof_size) {
            return Err("its superblock gives addresses a width that there is not".to_string().into());
        }
        let (blocks, groups, unreadable, loose) = (Mutex::new(file), HashMap::new(), BTreeMap::new(), Vec::new());
        let mut frame = Self { blocks, base, length: length - base, widths, ranks, root, groups, unreadable, loose };
        if extension != UNDEF_ADDR {
            for message in frame.header(extension)?.iter().filter(|message| message.msg_type == MSG_BTREE_K) {
                let found = BtreeKMessage::decode(&message.data)?;
                ranks.sym_leaf_k = found.sym_leaf_k;
                ranks.snode_internal_k = found.snode_internal_k;
                ranks.chunk_internal_k = found.chunk_internal_k;
            }
            frame.ranks = ranks;
        }
        frame.look_through()?;
        Ok(frame)
    }

    /// Lists every group, once, and notes what is linked and cannot be read.
    fn look_through(&mut self) -> Result<(), Fault> {
        let mut known: HashMap<u64, Result<Object, String>> = HashMap::new();
        let links = self.links(&self.header(self.root)?)?;
        let mut open = vec![(String::new(), 0, self.root, links)];
        while let Some((path, depth, address, links)) = open.pop() {
            let full = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            self.loose.extend(links.loose.iter().map(|name| full(name)));
            for (name, &object) in &links.hard {
                let full = full(name);
                let seen = known.contains_key(&object) || object == self.root;
                let header = if seen { None } else { Some(self.header(object)) };
                if let Some(header) = &header {
                    known.insert(object, header.as_ref().map_err(words).and_then(|messages| kind(messages)));
                }
                match (known.get(&object), header) {
                    (Some(Err(why)), _) => {
                        self.unreadable.insert(full, why.clone());
                    }
                    (Some(Ok(Object::Group)), Some(Ok(messages))) if depth < DEEPEST => match self.links(&messages) {
                        Ok(below) => open.push((full, depth + 1, object, below)),
                        Err(fault) => {
                            self.unreadable.insert(full, words(&fault));
                        }
                    },
                    (Some(Ok(Object::Group)), Some(_)) => {
                        self.unreadable.insert(full, format!("a path of more than {DEEPEST} groups"));
                    }
                    _ => {}
                }
            }
            self.groups.insert(address, links.hard);
        }
        Ok(())
    }

    /// Where the header of the object at `path` lies.
    pub(super) fn find(&self, path: &str) -> Option<u64> {
        path.split('/').try_fold(self.root, |group, name| self.groups.get(&group)?.get(name).copied())
    }

    /// `count` bytes at `address`, all of which must be there.
    pub(super) fn bytes(&self, address: u64, count: usize) -> Result<Vec<u8>, Fault> {
        if address.checked_add(count as u64).is_none_or(|end| end > self.length) {
            let (from, end) = (address.saturating_add(self.base), self.length + self.base);
            return Err(format!("a block of {count} bytes at byte {from}, and the file ends at {end}").into());
        }
        let mut found = vec![0; count];
        let mut file = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.base + address))?;
        file.read_exact(&mut found)?;
        Ok(found)
    }

    /// `count` bytes at `address`, or as many as there are.
    pub(super) fn at_most(&self, address: u64, count: usize) -> Result<Vec<u8>, Fault> {
        let there = self.length.saturating_sub(address).min(count as u64);
        self.bytes(address, if there == 0 { count } else { there as usize })
    }

    /// The messages of the object header at `address`, those of its continuations included.
    pub(super) fn header(&self, address: u64) -> Result<Vec<ObjectHeaderMessage>, Fault> {
        let mut start = self.at_most(address, HEADER)?;
        if let Err(FormatError::BufferTooShort { needed, .. }) = ObjectHeader::decode_any(&start) {
            start = self.bytes(address, needed)?;
        }
        let modern = start.starts_with(&OHDR_SIGNATURE);
        let (header, length) = ObjectHeader::decode_any(&start)?;
        let indexed = modern && header.flags & 4 != 0;
        let (mut visited, mut at) = (HashSet::new(), 0);
        let mut messages = if modern { header.messages } else { of_old(start.get(16..length).ok_or_else(cut)?)? };
        while let Some(message) = messages.get(at) {
            if message.msg_type == MSG_OBJ_HEADER_CONTINUATION {
                let (address, length) = self.pair(&message.data)?;
                if !visited.insert(address) {
                    return Err("an object header that continues in itself".to_string().into());
                }
                let block = self.bytes(address, length as usize)?;
                messages.extend(if modern { continued(&block, indexed)? } else { of_old(&block)? });
            }
            at += 1;
        }
        // The first files have no checksums, but they count their messages: zeros in a message's place are more of them.
        let counted = u16::from_le_bytes([start[2], start[3]]) as usize;
        if !modern && counted != messages.len() {
            return Err(format!("its description has {} messages where {counted} are counted", messages.len()).into());
        }
        Ok(messages)
    }

    /// An address and a length, one after the other.
    fn pair(&self, data: &[u8]) -> Result<(u64, u64), Fault> {
        let (a, s) = (self.widths.sizeof_addr as usize, self.widths.sizeof_size as usize);
        let parts = data.split_at_checked(a).and_then(|(address, rest)| Some((address, rest.get(..s)?)));
        let (address, length) = parts.ok_or_else(|| "a message that is cut short".to_string())?;
        Ok((word(address), word(length)))
    }

    /// The links of a group.
    fn links(&self, header: &[ObjectHeaderMessage]) -> Result<Links, Fault> {
        let mut links = Links::default();
        let mut keep = |link: LinkMessage| match link.target {
            LinkTarget::Hard { address } => drop(links.hard.insert(link.name, address)),
            _ => links.loose.push(link.name),
        };
        for message in header {
            match message.msg_type {
                MSG_LINK => keep(LinkMessage::decode(&message.data, &self.widths)?.0),
                MSG_LINK_INFO => {
                    let (info, _) = LinkInfoMessage::decode(&message.data, &self.widths)?;
                    if info.fractal_heap_address != UNDEF_ADDR {
                        self.dense(&info)?.into_iter().for_each(&mut keep);
                    }
                }
                _ => {}
            }
        }
        let declared = |kind: u8| header.iter().any(|message| message.msg_type == kind);
        if !declared(MSG_LINK) && !declared(MSG_LINK_INFO) {
            for message in header.iter().filter(|message| message.msg_type == MSG_SYMBOL_TABLE) {
                let width = self.widths.sizeof_addr as usize;
                let (tree, heap) = message.data.split_at_checked(width).ok_or_else(cut)?;
                self.symbols(word(tree), word(heap.get(..width).ok_or_else(cut)?), &mut links)?;
            }
        }
        Ok(links)
    }

    /// The links of a group that keeps them in a heap.
    fn dense(&self, info: &LinkInfoMessage) -> Result<Vec<LinkMessage>, Fault> {
        let heap = FractalHeapHeader::decode(&self.at_most(info.fractal_heap_address, 512)?, &self.widths)?;
        let blocks = collect_managed_blocks(&heap, &self.widths, &mut &*self)?;
        let (header, records) = self.records(info.name_btree_address)?;
        let mut links = Vec::new();
        for record in records.chunks_exact((header.record_size as usize).max(1)) {
            // A hash of the name, then where in the heap the link lies.
            let id = HeapId::parse(record.get(4..).unwrap_or_default(), &heap, &self.widths)?;
            let bytes = read_heap_object(&id, &heap, &self.widths, &blocks, &mut &*self)?;
            links.push(LinkMessage::decode(&bytes, &self.widths)?.0);
        }
        Ok(links)
    }

    /// The records of a version-2 B-tree, one after another.
    pub(super) fn records(&self, address: u64) -> Result<(Bt2Header, Vec<u8>), Fault> {
        let header = Bt2Header::decode(&self.at_most(address, 256)?, &self.widths)?;
        let mut records = Vec::new();
        if header.root_node_addr == UNDEF_ADDR || header.total_num_records == 0 {
            return Ok((header, records));
        }
        let geometry = Bt2Geometry::new(header.node_size, header.record_size, header.depth, self.widths.sizeof_addr);
        let mut visited = HashSet::new();
        let mut open = vec![(header.root_node_addr, header.depth, header.num_records_in_root)];
        while let Some((address, depth, count)) = open.pop() {
            if !visited.insert(address) {
                return Err("a tree that grows into itself".to_string().into());
            }
            let node = self.at_most(address, header.node_size as usize)?;
            if depth == 0 {
                records.extend(Bt2LeafNode::decode(&node, count, header.record_size)?.record_data);
                continue;
            }
            let (width, total) = (geometry.max_nrec_size, geometry.child_total_size(depth));
            let node = Bt2InternalNode::decode(&node, &self.widths, depth, count, header.record_size, width, total)?;
            records.extend(node.record_data);
            open.extend(node.child_addrs.into_iter().zip(node.child_nrecords).map(|(at, n)| (at, depth - 1, n)));
        }
        let found = records.len() / (header.record_size as usize).max(1);
        if found as u64 != header.total_num_records {
            let why = format!("a tree of {found} records where {} are declared", header.total_num_records);
            return Err(why.into());
        }
        Ok((header, records))
    }

    /// The links of a group as the first files had them: a tree of nodes of names, and a heap of letters.
    fn symbols(&self, tree: u64, heap: u64, links: &mut Links) -> Result<(), Fault> {
        let (a, s) = (self.widths.sizeof_addr as usize, self.widths.sizeof_size as usize);
        let heap = LocalHeapHeader::decode(&self.at_most(heap, 64)?, a, s)?;
        let letters = self.bytes(heap.data_addr, heap.data_size.min(usize::MAX as u64) as usize)?;
        let (mut visited, mut open) = (HashSet::new(), vec![(tree, None)]);
        while let Some((address, level)) = open.pop() {
            if !visited.insert(address) {
                return Err("a group that lies within itself".to_string().into());
            }
            if level == Some(0) {
                let node = self.at_most(address, self.ranks.symbol_table_node_size(a, s))?;
                let node = SymbolTableNode::decode(&node, a, s, self.ranks.sym_leaf_max_entries())?;
                for entry in node.entries {
                    let name = local_heap_get_string(&letters, entry.name_offset)?;
                    if name.is_empty() {
                        return Err("a link without a name: its bytes are lost".to_string().into());
                    }
                    match entry.cache {
                        SymbolTableCache::SoftLink { .. } => links.loose.push(name),
                        _ => drop(links.hard.insert(name, entry.obj_header_addr)),
                    }
                }
                continue;
            }
            let node = self.at_most(address, self.ranks.snode_btree_node_size(a, s))?;
            let node = BTreeV1Node::decode(&node, a, s, self.ranks.snode_max_entries())?;
            if level.is_some_and(|level| node.level as u32 + 1 != level) {
                return Err("a tree whose levels are out of order".to_string().into());
            }
            open.extend(node.children.into_iter().map(|child| (child, Some(node.level as u32))));
        }
        Ok(())
    }

    /// How the rows of the dataset whose header lies at `address` are laid out.
    pub(super) fn layout(&self, address: u64) -> Result<DataLayoutMessage, Fault> {
        let header = self.header(address)?;
        let layout = header.iter().find(|message| message.msg_type == MSG_DATA_LAYOUT);
        let layout = layout.ok_or_else(|| "nothing says how its rows are laid out".to_string())?;
        Ok(DataLayoutMessage::decode(&layout.data, &self.widths)?.0)
    }
}

/// The library's walk of a heap reads through us, so that what it reads lies in the file.
impl BlockReader for &Frame {
    fn read_block(&mut self, offset: u64, len: usize) -> Result<Vec<u8>, FormatError> {
        self.at_most(offset, len).map_err(|fault| FormatError::InvalidData(words(&fault)))
    }
}

pub(super) fn words(fault: &Fault) -> String {
    match fault {
        Fault::Cut(..) => "it is cut short".into(),
        Fault::Words(words) => words.clone(),
    }
}

fn cut() -> Fault {
    Fault::Words("a message that is cut short".into())
}

/// A little-endian number of at most eight bytes; all ones, whatever the width, is the address of nothing.
pub(super) fn word(bytes: &[u8]) -> u64 {
    if bytes.iter().all(|byte| *byte == 0xFF) {
        return UNDEF_ADDR;
    }
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | byte as u64)
}

/// The superblock: at the beginning, or at 512, 1024, 2048 …, behind something that is not HDF5's.
fn superblock(file: &mut File, length: u64) -> Result<(u64, Vec<u8>), Fault> {
    let mut at = 0;
    while at < length {
        let mut start = vec![0; (length - at).min(256) as usize];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut start)?;
        if start.starts_with(&HDF5_SIGNATURE) {
            return Ok((at, start));
        }
        at = if at == 0 { 512 } else { at * 2 };
    }
    Err("there is no HDF5 superblock in it: something else, or nothing but its name is left".to_string().into())
}

/// What an object is, by its messages.
fn kind(header: &[ObjectHeaderMessage]) -> Result<Object, String> {
    let has = |kind: u8| header.iter().any(|message| message.msg_type == kind);
    match () {
        () if has(MSG_DATA_LAYOUT) => Ok(Object::Dataset),
        () if has(MSG_SYMBOL_TABLE) || has(MSG_LINK_INFO) || has(MSG_LINK) => Ok(Object::Group),
        () if has(MSG_DATATYPE) => Ok(Object::Type),
        () => Err("an object that is neither rows nor a group: its description is lost".into()),
    }
}

/// The messages of a continued header, as newer files have them.
fn continued(block: &[u8], indexed: bool) -> Result<Vec<ObjectHeaderMessage>, Fault> {
    let (body, sum) = block.split_last_chunk::<4>().ok_or_else(cut)?;
    let mut rest =
        body.strip_prefix(&OCHK_SIGNATURE[..]).ok_or_else(|| "a header whose continuation is lost".to_string())?;
    if !crate::arrays::holds(checksum_metadata(body), u32::from_le_bytes(*sum)) {
        return Err("a header whose continuation has changed: its checksum does not hold".to_string().into());
    }
    let mut messages = Vec::new();
    let head = if indexed { 6 } else { 4 };
    while let Some((start, after)) = rest.split_at_checked(head) {
        let length = u16::from_le_bytes([start[1], start[2]]) as usize;
        let (data, after) = after.split_at_checked(length).ok_or_else(cut)?;
        messages.push(ObjectHeaderMessage {
            msg_type: start[0],
            flags: start[3],
            creation_index: 0,
            data: data.into(),
        });
        rest = after;
    }
    Ok(messages)
}

/// The messages of a part of a header of the first files: types of two bytes, and lengths that are multiples of eight.
fn of_old(block: &[u8]) -> Result<Vec<ObjectHeaderMessage>, Fault> {
    let (mut rest, mut messages) = (block, Vec::new());
    while let Some((start, after)) = rest.split_at_checked(8) {
        let length = u16::from_le_bytes([start[2], start[3]]) as usize;
        let (data, after) = after.split_at_checked(length).ok_or_else(cut)?;
        // A type of more than one byte is none that is looked for.
        let kind = if start[1] == 0 { start[0] } else { 0 };
        messages.push(ObjectHeaderMessage { msg_type: kind, flags: start[4], creation_index: 0, data: data.into() });
        rest = after;
    }
    Ok(messages)
}
