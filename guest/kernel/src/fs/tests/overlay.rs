//! The overlay: changes stay above, what was not changed shows through.

use super::std::prelude::v1::*;
use super::std::vec;

use linux_raw_sys::general as raw;
use proptest::prelude::*;

use alloc::sync::Arc;

use super::lower::{self, BIG, byte_at};
use super::{machine, names, open, read_all, read_path, write_path};
use crate::Errno;
use crate::fs::inode::{FileSystem, Inode};
use crate::fs::metadata::FileKind;
use crate::fs::overlay::OverlayFs;
use crate::fs::{Caller, Destination, Follow, Origin};

fn rename(caller: &Caller, from: &str, to: &str) -> crate::Result<()> {
    caller.rename(
        (&caller.cwd, from.as_bytes()),
        (&caller.cwd, to.as_bytes()),
        0,
    )
}

fn remove(caller: &Caller, path: &str) -> crate::Result<()> {
    caller.remove(&caller.cwd, path.as_bytes(), false)
}

#[test]
fn what_is_not_changed_shows_through() {
    let caller = machine();
    assert_eq!(read_path(&caller, "/dir/small").unwrap(), b"small");
    assert_eq!(read_path(&caller, "/link").unwrap(), b"small");
    assert_eq!(
        names(&caller, "/"),
        [b"big".to_vec(), b"dir".to_vec(), b"link".to_vec()]
    );
}

#[test]
fn a_place_for_a_mount_hides_what_is_below_and_changes_no_time() {
    guest_hal::initialize_hosted();
    let plain = OverlayFs::over(lower::file_system(), &[]).root();
    let placed = OverlayFs::over(lower::file_system(), &[b"link", b"own"]).root();
    let times = |inode: &Arc<dyn Inode>| {
        let status = inode.metadata().unwrap();
        (status.modified, status.changed, status.links)
    };
    assert_eq!(times(&placed), times(&plain));
    let directory = placed.as_directory().unwrap();
    let mut found: Vec<_> = directory.list().unwrap();
    found.sort_by(|one, next| one.name.cmp(&next.name));
    let found = found.iter().map(|record| (&*record.name, record.kind));
    let expected: [(&[u8], FileKind); 4] = [
        (b"big", FileKind::Regular),
        (b"dir", FileKind::Directory),
        (b"link", FileKind::Directory),
        (b"own", FileKind::Directory),
    ];
    assert!(found.eq(expected));
    let own = directory.lookup(b"own").unwrap().inode.unwrap();
    assert!(own.as_directory().unwrap().list().unwrap().is_empty());
}

#[test]
fn a_write_copies_only_the_pages_it_touches() {
    let caller = machine();
    let file = open(&caller, "/big", raw::O_RDWR).unwrap();
    file.write_at(5000, &mut Origin::kernel(b"changed"))
        .unwrap();
    let bytes = read_all(&file);
    assert_eq!(bytes.len() as u64, BIG);
    assert_eq!(&bytes[5000..5007], b"changed");
    let unchanged = bytes
        .iter()
        .enumerate()
        .filter(|(at, _)| !(5000..5007).contains(at));
    assert!(
        unchanged
            .into_iter()
            .all(|(at, &byte)| byte == byte_at(at as u64))
    );
}

#[test]
fn a_reader_that_was_first_sees_what_is_written_later() {
    let caller = machine();
    let reader = open(&caller, "/dir/small", raw::O_RDONLY).unwrap();
    assert_eq!(read_all(&reader), b"small");
    write_path(&caller, "/dir/small", b"larger than before").unwrap();
    assert_eq!(read_all(&reader), b"larger than before");
}

#[test]
fn a_removed_lower_name_is_gone_and_can_be_made_anew() {
    let caller = machine();
    remove(&caller, "/dir/small").unwrap();
    assert_eq!(read_path(&caller, "/dir/small"), Err(Errno::ENOENT));
    assert_eq!(names(&caller, "/dir"), [b"sub".to_vec()]);
    write_path(&caller, "/dir/small", b"new").unwrap();
    assert_eq!(read_path(&caller, "/dir/small").unwrap(), b"new");
}

#[test]
fn a_lower_directory_moves_with_all_that_is_in_it() {
    let caller = machine();
    rename(&caller, "/dir", "/moved").unwrap();
    assert_eq!(read_path(&caller, "/moved/sub/deep").unwrap(), b"deep");
    assert_eq!(read_path(&caller, "/dir/small"), Err(Errno::ENOENT));
    assert_eq!(
        rename(&caller, "/moved", "/moved/sub/inside"),
        Err(Errno::EINVAL)
    );
    caller.make_directory(&caller.cwd, b"/dir", 0o755).unwrap();
    assert!(names(&caller, "/dir").is_empty());
}

#[test]
fn a_directory_is_removed_only_when_empty() {
    let caller = machine();
    let rmdir = |path: &str| caller.remove(&caller.cwd, path.as_bytes(), true);
    assert_eq!(rmdir("/dir/sub"), Err(Errno::ENOTEMPTY));
    remove(&caller, "/dir/sub/deep").unwrap();
    rmdir("/dir/sub").unwrap();
    assert_eq!(rmdir("/dir/sub"), Err(Errno::ENOENT));
}

#[test]
fn hard_links_to_a_lower_file_are_one_file() {
    let caller = machine();
    let existing = caller.find(b"/dir/small", Follow::Yes).unwrap();
    caller.link(&existing, &caller.cwd, b"/other").unwrap();
    write_path(&caller, "/other", b"both").unwrap();
    assert_eq!(read_path(&caller, "/dir/small").unwrap(), b"both");
    assert_eq!(existing.metadata().unwrap().links, 2);
    remove(&caller, "/dir/small").unwrap();
    assert_eq!(read_path(&caller, "/other").unwrap(), b"both");
}

#[test]
fn changed_metadata_and_inode_numbers_stay() {
    let caller = machine();
    let before = caller
        .find(b"/dir/small", Follow::Yes)
        .unwrap()
        .metadata()
        .unwrap();
    let at = caller.find(b"/dir/small", Follow::Yes).unwrap();
    caller.set_permissions(&at, 0o600).unwrap();
    drop(at);
    rename(&caller, "/dir/small", "/elsewhere").unwrap();
    let after = caller
        .find(b"/elsewhere", Follow::Yes)
        .unwrap()
        .metadata()
        .unwrap();
    assert_eq!(after.number, before.number);
    assert_eq!(after.mode & 0o777, 0o600);
    assert_eq!(read_path(&caller, "/elsewhere").unwrap(), b"small");
}

#[test]
fn an_open_file_outlives_its_name() {
    let caller = machine();
    let file = open(&caller, "/dir/small", raw::O_RDWR).unwrap();
    remove(&caller, "/dir/small").unwrap();
    file.write_at(0, &mut Origin::kernel(b"S")).unwrap();
    assert_eq!(read_all(&file), b"Small");
    assert_eq!(file.path(&caller.root), b"/dir/small (deleted)");
    assert_eq!(file.metadata().unwrap().links, 0);
}

/// One change of a file.
#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    Truncate(u64),
    Punch(u64, u64),
}

fn steps() -> impl Strategy<Value = Step> {
    let offset = prop_oneof![0..BIG + 20_000, (0..30u64).prop_map(|page| page * 4096)];
    let bytes = (1..9000usize, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]);
    prop_oneof![
        4 => (offset.clone(), bytes).prop_map(|(at, bytes)| Step::Write(at, bytes)),
        1 => offset.clone().prop_map(Step::Truncate),
        1 => (offset, 1..20_000u64).prop_map(|(at, length)| Step::Punch(at, length)),
    ]
}

/// What the file should hold.
fn apply(model: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Write(at, bytes) => {
            let end = *at as usize + bytes.len();
            model.resize(model.len().max(end), 0);
            model[*at as usize..end].copy_from_slice(bytes);
        }
        Step::Truncate(size) => model.resize(*size as usize, 0),
        Step::Punch(at, length) => {
            let end = ((at + length) as usize).min(model.len());
            let start = (*at as usize).min(end);
            model[start..end].fill(0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_changed_lower_file_is_as_a_plain_array_would_be(
        steps in proptest::collection::vec(steps(), 1..20),
        reads in proptest::collection::vec((0..BIG + 30_000, 1..20_000usize), 1..8),
    ) {
        let caller = machine();
        let file = open(&caller, "/big", raw::O_RDWR).unwrap();
        let regular = file.regular().unwrap();
        let mut model: Vec<u8> = (0..BIG).map(byte_at).collect();
        for step in &steps {
            match step {
                Step::Write(at, bytes) => {
                    let wrote = file.write_at(*at, &mut Origin::kernel(bytes)).unwrap();
                    prop_assert_eq!(wrote, bytes.len() as u64);
                }
                Step::Truncate(size) => regular.truncate(*size).unwrap(),
                Step::Punch(at, length) => regular.allocate(3, *at, *length).unwrap(),
            }
            apply(&mut model, step);
            prop_assert_eq!(file.metadata().unwrap().size, model.len() as u64);
        }
        for (at, length) in reads {
            let mut bytes = vec![0; length];
            let count = file.read_at(at, &mut Destination::kernel(&mut bytes)).unwrap() as usize;
            let expected = model.get(at as usize..).unwrap_or_default();
            let expected = expected.get(..length).unwrap_or(expected);
            prop_assert_eq!(&bytes[..count], expected);
        }
        prop_assert!(read_all(&file) == model, "the whole file");
    }
}
