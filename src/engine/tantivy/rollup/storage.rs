//! Where the tantivy indices of rolled-up documents are kept: one per job and rollup index.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ::tantivy::directory::{Directory, RamDirectory};

use super::META;
use super::folder::Folder;
use crate::durable::sync_folder;
use crate::sync::Mutex;

/// The longest name that common file systems take.
const MAX_NAME_LENGTH: usize = 255;

/// Which of them: that of a job in a rollup index.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RollupPlace {
    /// The rollup index.
    pub rollup_index: String,
    /// The job.
    pub job_id: String,
}

/// Keeps the tantivy directories of rolled-up documents. The engine has one in folders and one in memory; a host can
/// bring its own, and a test one that fails.
///
/// The engine holds locks of its own while it calls: a storage must not call the engine, and should answer quickly. A
/// storage belongs to one engine, and its clones.
///
/// What a call that returned has done has to survive a power cut, as far as the storage survives anything.
pub trait RollupStorage: Send + Sync + fmt::Debug {
    /// Whether there is anything of this rollup index.
    fn holds(&self, rollup_index: &str) -> bool;

    /// Whether there is an index at `place`: it has a `meta.json`.
    fn exists(&self, place: &RollupPlace) -> bool;

    /// The directory of an index that exists.
    ///
    /// # Errors
    /// What the storage says.
    fn open(&self, place: &RollupPlace) -> io::Result<Box<dyn Directory>>;

    /// A new, empty directory; what a crash left there of an earlier one was removed before.
    ///
    /// # Errors
    /// What the storage says.
    fn create(&self, place: &RollupPlace) -> io::Result<Box<dyn Directory>>;

    /// Removes the directory and all that is in it. Nothing there is no error. A crash in the middle leaves no index.
    ///
    /// # Errors
    /// What the storage says; the call can be repeated.
    fn remove(&self, place: &RollupPlace) -> io::Result<()>;

    /// The rollup indices that have an index of this job. Default: it is not known, and answered with none.
    ///
    /// # Errors
    /// What the storage says.
    fn rollup_indices_of(&self, job_id: &str) -> io::Result<Vec<String>> {
        let _ = job_id;
        Ok(Vec::new())
    }

    /// For messages: where that is.
    fn describe(&self, place: &RollupPlace) -> String;
}

/// In folders: one per rollup index, one per job in it.
#[derive(Debug)]
pub(in crate::engine::tantivy) struct Folders {
    root: PathBuf,
    /// Locked as long as it is open.
    _lock: fs::File,
}

/// No rollup index has this folder: a dot in front is written otherwise.
const LOCK: &str = ".rollup-jobs.lock";

impl Folders {
    /// Creates the folder if need be, and takes it: nobody else has it until this is dropped.
    pub(in crate::engine::tantivy) fn lock(root: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&root)?;
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).open(root.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            // Not every file system has locks.
            Err(fs::TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        Ok(Self { root, _lock: lock })
    }

    fn of(&self, place: &RollupPlace) -> io::Result<(PathBuf, PathBuf)> {
        let index = self.root.join(folder_name(&place.rollup_index)?);
        let job = index.join(folder_name(&place.job_id)?);
        Ok((index, job))
    }
}

impl RollupStorage for Folders {
    fn holds(&self, rollup_index: &str) -> bool {
        folder_name(rollup_index).is_ok_and(|folder| self.root.join(folder).is_dir())
    }

    fn exists(&self, place: &RollupPlace) -> bool {
        self.of(place).is_ok_and(|(_, job)| job.join(META).is_file())
    }

    fn open(&self, place: &RollupPlace) -> io::Result<Box<dyn Directory>> {
        open_folder(&self.of(place)?.1)
    }

    fn create(&self, place: &RollupPlace) -> io::Result<Box<dyn Directory>> {
        let (index, job) = self.of(place)?;
        fs::create_dir_all(&job)?;
        // The new folders themselves have to survive a power cut too.
        for folder in [Some(&*index), index.parent()].into_iter().flatten() {
            sync_folder(folder)?;
        }
        open_folder(&job)
    }

    /// The rollup index's folder goes too if it was the last job in it. The file that makes it an index goes first.
    fn remove(&self, place: &RollupPlace) -> io::Result<()> {
        let (index, job) = self.of(place)?;
        gone(fs::remove_file(job.join(META)))?;
        gone(fs::remove_dir_all(&job))?;
        // Unless other jobs share it.
        let _ = fs::remove_dir(&index);
        // Gone has to mean gone, over a power cut too.
        let parent = if index.is_dir() { Some(&*index) } else { index.parent() };
        gone(parent.map_or(Ok(()), sync_folder))
    }

    fn rollup_indices_of(&self, job_id: &str) -> io::Result<Vec<String>> {
        let job = folder_name(job_id)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let is_of_job = entry.path().join(&job).join(META).is_file();
            found.extend(entry.file_name().to_str().filter(|_| is_of_job).and_then(name_of));
        }
        found.sort_unstable();
        Ok(found)
    }

    fn describe(&self, place: &RollupPlace) -> String {
        self.of(place).map_or_else(|error| error.to_string(), |(_, job)| job.display().to_string())
    }
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn open_folder(folder: &Path) -> io::Result<Box<dyn Directory>> {
    Ok(Box::new(Folder::open(folder)?))
}

/// In memory.
#[derive(Debug, Default)]
pub(in crate::engine::tantivy) struct Memory(Mutex<BTreeMap<RollupPlace, RamDirectory>>);

impl RollupStorage for Memory {
    fn holds(&self, rollup_index: &str) -> bool {
        self.0.lock().keys().any(|place| place.rollup_index == rollup_index)
    }

    fn exists(&self, place: &RollupPlace) -> bool {
        self.0.lock().get(place).is_some_and(|directory| directory.exists(Path::new(META)).unwrap_or(false))
    }

    fn open(&self, place: &RollupPlace) -> io::Result<Box<dyn Directory>> {
        let directory = self.0.lock().get(place).cloned();
        directory.map(|directory| -> Box<dyn Directory> { Box::new(directory) }).ok_or(io::ErrorKind::NotFound.into())
    }

    fn create(&self, place: &RollupPlace) -> io::Result<Box<dyn Directory>> {
        let directory = RamDirectory::create();
        self.0.lock().insert(place.clone(), directory.clone());
        Ok(Box::new(directory))
    }

    fn remove(&self, place: &RollupPlace) -> io::Result<()> {
        let removed = self.0.lock().remove(place);
        drop(removed);
        Ok(())
    }

    fn rollup_indices_of(&self, job_id: &str) -> io::Result<Vec<String>> {
        let known = self.0.lock();
        Ok(known.keys().filter(|place| place.job_id == job_id).map(|place| place.rollup_index.clone()).collect())
    }

    fn describe(&self, _place: &RollupPlace) -> String {
        "in memory".to_owned()
    }
}

/// A file name that every file system takes, different for different names: other bytes than letters, digits, `_`,
/// `-` and inner `.` become `%XX`; so do capital letters, since some file systems do not tell them from small ones.
fn folder_name(name: &str) -> io::Result<String> {
    let mut folder = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => folder.push(char::from(byte)),
            b'.' if at > 0 => folder.push('.'),
            other => {
                // Writing into a string cannot fail.
                let _ = write!(folder, "%{other:02X}");
            }
        }
    }
    if folder.len() > MAX_NAME_LENGTH {
        let text = format!(
            "[{name}] is too long for the name of a folder, which may have {MAX_NAME_LENGTH} bytes: capital letters, \
             and all that is neither letter nor digit nor one of [_-.], take three each"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidFilename, text));
    }
    Ok(folder)
}

/// The name that a folder stands for, if it is one of ours.
fn name_of(folder: &str) -> Option<String> {
    let mut name = Vec::with_capacity(folder.len());
    let mut rest = folder.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            name.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        name.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(name).ok().filter(|name| folder_name(name).is_ok_and(|known| known == folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_names_are_different_for_different_names() {
        for (name, expected) in [
            ("sensor_rollup", "sensor_rollup"),
            ("a/b", "a%2Fb"),
            ("A", "%41"),
            ("..", "%2E."),
            (".", "%2E"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(folder_name(name).unwrap(), expected);
            assert_eq!(name_of(expected).as_deref(), Some(name));
        }
        assert!(folder_name(&"x".repeat(256)).is_err());
    }
}
