//! The folder of a store: private, and nobody else's.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::marker::sync_folder;
use super::open::OpenError;

/// From here on what this process makes can be read by its own user only. For the whole process: RocksDB makes its files
/// with what the process allows.
pub fn keep_files_private() {
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));
}

/// Makes the folder if there is none, and refuses one that others could have prepared. Returns its path without a slash at
/// the end, which would follow a symbolic link.
pub(super) fn prepare(folder: &Path) -> Result<PathBuf, OpenError> {
    let folder: PathBuf = folder.components().collect();
    let at = |source| OpenError::system(&folder, source);
    match fs::symlink_metadata(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parents = parents_to_sync(&folder);
            DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(at)?;
            // A power cut would take a new folder along with everything that is synced in it.
            parents.iter().try_for_each(|parent| sync_folder(parent)).map_err(at)?;
        }
        Err(error) => return Err(at(error)),
        Ok(_) => {}
    }
    let folder = existing(&folder)?;
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).map_err(|source| OpenError::system(&folder, source))?;
    Ok(folder)
}

/// Folders in which a name will appear when `folder`, which is not there, is made with those above it.
fn parents_to_sync(folder: &Path) -> Vec<PathBuf> {
    let mut parents = Vec::new();
    for parent in folder.ancestors().skip(1) {
        // The parent of a relative name is the working directory.
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        parents.push(parent.to_owned());
        if parent.exists() {
            break;
        }
    }
    parents
}

/// The same for a folder that must be there, and is left as it is.
pub(super) fn existing(folder: &Path) -> Result<PathBuf, OpenError> {
    let folder: PathBuf = folder.components().collect();
    let at = |source| OpenError::system(&folder, source);
    if !fs::symlink_metadata(&folder).map_err(at)?.is_dir() {
        refuse_foreign(&folder)?;
        return Err(OpenError::refused(&folder, "is not a folder"));
    }
    refuse_foreign(&folder)?;
    for entry in fs::read_dir(&folder).map_err(at)? {
        let entry = entry.map_err(at)?;
        if entry.file_name() != "lost+found" {
            refuse_foreign(&entry.path())?;
        }
    }
    Ok(folder)
}

fn refuse_foreign(path: &Path) -> Result<(), OpenError> {
    let metadata = match fs::symlink_metadata(path) {
        // A process that ends may still be tidying up.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata.map_err(|source| OpenError::system(path, source))?,
    };
    let me = rustix::process::geteuid().as_raw();
    if metadata.is_symlink() {
        return Err(OpenError::refused(path, "is a symbolic link: name the place itself"));
    }
    if metadata.uid() != me {
        return Err(OpenError::refused(path, format!("belongs to user {}, and this process to {me}", metadata.uid())));
    }
    Ok(())
}

/// Names in a folder, but for what file systems put there.
pub(super) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| name != "lost+found");
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_above_a_new_one_are_synced_up_to_the_first_that_was_there() {
        let there = tempfile::tempdir().unwrap();
        let folder = there.path().join("a/b/c");
        let parents = parents_to_sync(&folder);
        assert_eq!(parents, [there.path().join("a/b"), there.path().join("a"), there.path().to_owned()]);
        assert_eq!(parents_to_sync(Path::new("relative-and-new")), [Path::new(".")]);
        assert_eq!(prepare(&folder).unwrap(), folder);
    }
}
