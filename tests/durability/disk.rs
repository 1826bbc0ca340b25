//! What a power loss leaves of a folder, from the record that `powerloss.c` wrote of the changes below it.
//!
//! Strict: the content of a file is durable as of its last sync, its name as of the last sync of the directory that holds it; removals
//! and renames wait for the directory, too. Fair: what a sync covers is what was written before it began, and a rename is one change.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::chance::Chance;

/// A disk writes whole sectors.
const SECTOR: usize = 512;

const HEAD: usize = 32;
const OPEN: u32 = 1;
const WRITE: u32 = 2;
const SIZE: u32 = 3;
const SYNC: u32 = 4;
const RENAME: u32 = 5;
const UNLINK: u32 = 6;
const MKDIR: u32 = 7;
const RMDIR: u32 = 8;
const LINK: u32 = 9;
const CREATED: u32 = 1;
const TRUNCATED: u32 = 2;
const DIRECTORY: u32 = 4;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(usize),
    Directory,
}

#[derive(Debug)]
enum Edit {
    Write(usize, Vec<u8>),
    Size(usize),
}

#[derive(Debug)]
enum Change {
    Set(String, Node),
    Remove(String),
    Move(String, String, Node),
}

impl Change {
    fn touches(&self, directory: &str) -> bool {
        match self {
            Self::Set(path, _) | Self::Remove(path) => parent(path) == directory,
            Self::Move(from, to, _) => parent(from) == directory || parent(to) == directory,
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            Self::Set(path, node) => drop(names.insert(path.clone(), *node)),
            Self::Remove(path) => drop(names.remove(path)),
            Self::Move(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

#[derive(Debug, Default)]
struct File {
    durable: Vec<u8>,
    pending: Vec<(u64, Edit)>,
}

fn edit(content: &mut Vec<u8>, edit: &Edit) {
    match edit {
        Edit::Size(size) => content.resize(*size, 0),
        Edit::Write(offset, bytes) => {
            let end = offset + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*offset..end].copy_from_slice(bytes);
        }
    }
}

/// A folder with what of it is durable.
#[derive(Debug, Default)]
pub struct Disk {
    files: Vec<File>,
    live: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    pending: Vec<(u64, Change)>,
    handles: HashMap<u32, (String, Node)>,
    /// Changes recorded so far, and syncs among them.
    pub records: u64,
    /// Syncs of files and directories.
    pub syncs: u64,
}

/// A folder's content: directories have none.
pub type Image = BTreeMap<String, Option<Vec<u8>>>;

impl Disk {
    /// A folder on which everything is durable.
    pub fn of(folder: &Path) -> Self {
        let mut disk = Self::default();
        for (path, content) in image(folder) {
            let node = match content {
                None => Node::Directory,
                Some(durable) => {
                    disk.files.push(File { durable, pending: Vec::new() });
                    Node::File(disk.files.len() - 1)
                }
            };
            disk.live.insert(path, node);
        }
        disk.durable = disk.live.clone();
        disk
    }

    /// Applies a record of changes; what follows its last whole entry was never finished.
    pub fn replay(&mut self, trace: &[u8]) {
        let mut rest = trace;
        while let Some((head, behind)) = rest.split_at_checked(HEAD) {
            let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let offset = u64::from_le_bytes(head[8..16].try_into().expect("eight bytes"));
            let (first, second) = (word(20) as usize, word(24) as usize);
            let Some((bytes, behind)) = behind.split_at_checked(first + second) else { return };
            let (a, b) = bytes.split_at(first);
            match word(0) {
                OPEN => self.open(word(4), word(16), text(a)),
                WRITE => self.edit(word(4), Edit::Write(offset as usize, a.to_vec())),
                SIZE => self.edit(word(4), Edit::Size(offset as usize)),
                SYNC => self.sync(word(4), offset),
                kind => self.rename(kind, text(a), text(b)),
            }
            self.records += 1;
            rest = behind;
        }
    }

    fn open(&mut self, handle: u32, flags: u32, path: String) {
        let node = match self.live.get(&path) {
            Some(node) => *node,
            None if flags & DIRECTORY != 0 => Node::Directory,
            None => {
                assert!(flags & CREATED != 0, "{path} is there, and the record does not say how it came");
                self.files.push(File::default());
                let node = Node::File(self.files.len() - 1);
                self.name(Change::Set(path.clone(), node));
                node
            }
        };
        self.handles.insert(handle, (path, node));
        if flags & TRUNCATED != 0 {
            self.edit(handle, Edit::Size(0));
        }
    }

    fn edit(&mut self, handle: u32, edit: Edit) {
        if let Some((_, Node::File(file))) = self.handles.get(&handle) {
            self.files[*file].pending.push((self.records, edit));
        }
    }

    fn name(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push((self.records, change));
    }

    fn sync(&mut self, handle: u32, covered: u64) {
        self.syncs += 1;
        match self.handles.get(&handle) {
            Some((_, Node::File(file))) => {
                let file = &mut self.files[*file];
                let still = file.pending.iter().position(|(at, _)| *at >= covered).unwrap_or(file.pending.len());
                for (_, done) in file.pending.drain(..still) {
                    edit(&mut file.durable, &done);
                }
            }
            Some((path, Node::Directory)) => {
                let (synced, waiting) = std::mem::take(&mut self.pending)
                    .into_iter()
                    .partition(|(at, change)| *at < covered && change.touches(path));
                self.pending = waiting;
                for (_, change) in &synced {
                    Change::apply(change, &mut self.durable);
                }
            }
            None => {}
        }
    }

    fn rename(&mut self, kind: u32, a: String, b: String) {
        let node = self.live.get(&a).copied();
        match (kind, node) {
            // The folder itself: its name lies outside.
            _ if a.is_empty() => {}
            (MKDIR, _) => self.name(Change::Set(a, Node::Directory)),
            (UNLINK | RMDIR, _) => self.name(Change::Remove(a)),
            (RENAME, Some(_)) if b.is_empty() => self.name(Change::Remove(a)),
            (RENAME, Some(node)) => self.name(Change::Move(a, b, node)),
            (LINK, Some(node)) => self.name(Change::Set(b, node)),
            _ => {}
        }
    }

    /// What the process itself sees.
    pub fn live(&self) -> Image {
        let content = |node: &Node| match node {
            Node::Directory => None,
            Node::File(file) => {
                let file = &self.files[*file];
                let mut content = file.durable.clone();
                file.pending.iter().for_each(|(_, done)| edit(&mut content, done));
                Some(content)
            }
        };
        self.live.iter().map(|(path, node)| (path.clone(), content(node))).collect()
    }

    /// What was synced, and nothing else.
    pub fn durable(&self) -> Image {
        let content = |node: &Node| match node {
            Node::Directory => None,
            Node::File(file) => Some(self.files[*file].durable.clone()),
        };
        let mut image: Image = self.durable.iter().map(|(path, node)| (path.clone(), content(node))).collect();
        drop_orphans(&mut image);
        image
    }

    /// What was synced and some of what was not: of each file a prefix of its writes, the last one torn inside, and a prefix of the
    /// changes of names.
    pub fn torn(&self, chance: &mut Chance) -> Image {
        let mut names = self.durable.clone();
        let kept = chance.below(self.pending.len() + 1);
        for (_, change) in &self.pending[..kept] {
            change.apply(&mut names);
        }
        let mut image = Image::new();
        for (path, node) in names {
            let Node::File(file) = node else {
                image.insert(path, None);
                continue;
            };
            let file = &self.files[file];
            let mut content = file.durable.clone();
            let whole = chance.below(file.pending.len() + 1);
            for (_, done) in &file.pending[..whole] {
                edit(&mut content, done);
            }
            if let Some((_, Edit::Write(offset, bytes))) = file.pending.get(whole) {
                // Sectors lie at multiples of their size in the file, wherever the write begins.
                let sectors = (offset + bytes.len()).div_ceil(SECTOR) - offset / SECTOR;
                let end = (offset / SECTOR + chance.below(sectors)) * SECTOR;
                let length = end.saturating_sub(*offset).min(bytes.len());
                edit(&mut content, &Edit::Write(*offset, bytes[..length].to_vec()));
            }
            image.insert(path, Some(content));
        }
        drop_orphans(&mut image);
        image
    }
}

/// A file whose directory is gone is gone.
fn drop_orphans(image: &mut Image) {
    let directories: Vec<String> =
        image.iter().filter(|(_, content)| content.is_none()).map(|(path, _)| path.clone()).collect();
    image.retain(|path, _| parent(path).is_empty() || directories.iter().any(|have| have == parent(path)));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the broker names its files in ASCII")
}

/// What is in a folder.
pub fn image(folder: &Path) -> Image {
    let mut image = Image::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry.expect("the folder is read").path();
            let name = path.strip_prefix(folder).expect("it lies inside").display().to_string();
            if path.is_dir() {
                image.insert(name, None);
                open.push(path);
            } else {
                image.insert(name, Some(fs::read(&path).expect("the file is read")));
            }
        }
    }
    image
}

/// Makes a folder hold exactly this.
pub fn restore(folder: &Path, image: &Image) {
    if folder.exists() {
        fs::remove_dir_all(folder).expect("the folder is removed");
    }
    fs::create_dir(folder).expect("the folder is made");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("its mode is set");
    for (name, content) in image {
        let path = folder.join(name);
        match content {
            None => fs::create_dir(&path).expect("a directory is made"),
            Some(bytes) => {
                fs::write(&path, bytes).expect("a file is written");
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode is set");
            }
        }
    }
}
