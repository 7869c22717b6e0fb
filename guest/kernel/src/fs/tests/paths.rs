//! Path resolution, as Linux does it.

use super::std::prelude::v1::*;

use linux_raw_sys::general as raw;

use super::{machine, open, write_path};
use crate::fs::{Caller, Follow, How};
use crate::process::Credentials;
use crate::{Errno, Result};

fn find(caller: &Caller, path: &str) -> Result<Vec<u8>> {
    caller
        .find(path.as_bytes(), Follow::Yes)
        .map(|at| at.path(&caller.root))
}

fn link(caller: &Caller, text: &str, path: &str) {
    caller
        .make_link(text.as_bytes(), &caller.cwd, path.as_bytes())
        .unwrap();
}

#[test]
fn paths_lead_where_they_should() {
    let caller = machine();
    link(&caller, "/dir/sub", "/absolute");
    link(&caller, "loop", "/loop");
    link(&caller, "../dir", "/dir/up");
    let table: [(&str, Result<&str>); 16] = [
        ("/", Ok("/")),
        ("//dir//", Ok("/dir")),
        ("/dir/./sub/..", Ok("/dir")),
        ("/../../dir", Ok("/dir")),
        ("dir/small", Ok("/dir/small")),
        ("/link", Ok("/dir/small")),
        ("/link/", Err(Errno::ENOTDIR)),
        ("/absolute/deep", Ok("/dir/sub/deep")),
        ("/absolute/../small", Ok("/dir/small")),
        ("/dir/up/up/small", Ok("/dir/small")),
        ("/dir/small/", Err(Errno::ENOTDIR)),
        ("/dir/small/x", Err(Errno::ENOTDIR)),
        ("/dir/small/..", Err(Errno::ENOTDIR)),
        ("/none/x", Err(Errno::ENOENT)),
        ("", Err(Errno::ENOENT)),
        ("/loop", Err(Errno::ELOOP)),
    ];
    for (path, expected) in table {
        let expected = expected.map(|path| path.as_bytes().to_vec());
        assert_eq!(find(&caller, path), expected, "{path}");
    }
    let long = "x".repeat(256);
    assert_eq!(find(&caller, &long), Err(Errno::ENAMETOOLONG));
}

#[test]
fn open_refuses_what_linux_refuses() {
    let caller = machine();
    let create = raw::O_CREAT | raw::O_WRONLY;
    let table = [
        ("/none", raw::O_RDONLY, Errno::ENOENT),
        ("/dir", raw::O_WRONLY, Errno::EISDIR),
        ("/dir", create, Errno::EISDIR),
        ("/dir/", create, Errno::EISDIR),
        ("/new/", create, Errno::EISDIR),
        ("/dir/small", raw::O_DIRECTORY, Errno::ENOTDIR),
        ("/dir/small", create | raw::O_EXCL, Errno::EEXIST),
        ("/link", create | raw::O_EXCL, Errno::EEXIST),
        ("/link", raw::O_NOFOLLOW, Errno::ELOOP),
        ("/none/new", create, Errno::ENOENT),
        ("/dir/small/new", create, Errno::ENOTDIR),
    ];
    for (path, flags, expected) in table {
        assert_eq!(
            open(&caller, path, flags).err(),
            Some(expected),
            "{path} {flags:#o}"
        );
    }
}

#[test]
fn a_dangling_link_is_created_through() {
    let caller = machine();
    link(&caller, "dir/made", "/dangling");
    write_path(&caller, "/dangling", b"x").unwrap();
    assert_eq!(super::read_path(&caller, "/dir/made").unwrap(), b"x");
}

#[test]
fn resolution_can_be_confined() {
    let caller = machine();
    link(&caller, "/dir/small", "/dir/absolute");
    let dir = caller.find(b"/dir", Follow::Yes).unwrap();
    let try_open = |path: &str, resolve: u32| {
        let how = How {
            flags: raw::O_RDONLY,
            mode: 0,
            resolve: u64::from(resolve),
        };
        caller.open(&dir, path.as_bytes(), how).map(drop)
    };
    assert_eq!(try_open("small", raw::RESOLVE_BENEATH), Ok(()));
    assert_eq!(try_open("../big", raw::RESOLVE_BENEATH), Err(Errno::EXDEV));
    assert_eq!(try_open("/big", raw::RESOLVE_BENEATH), Err(Errno::EXDEV));
    assert_eq!(
        try_open("absolute", raw::RESOLVE_BENEATH),
        Err(Errno::EXDEV)
    );
    assert_eq!(
        try_open("absolute", raw::RESOLVE_NO_SYMLINKS),
        Err(Errno::ELOOP)
    );
    assert_eq!(try_open("../../small", raw::RESOLVE_IN_ROOT), Ok(()));
}

#[test]
fn permissions_bind_everyone_but_root() {
    let root = machine();
    let at = root.find(b"/dir", Follow::Yes).unwrap();
    root.set_permissions(&at, 0o700).unwrap();
    let credentials = Credentials {
        uid: [1000; 3],
        gid: [1000; 3],
        groups: Vec::new(),
    };
    let user = Caller {
        credentials,
        ..root.clone()
    };
    assert_eq!(
        open(&user, "/dir/small", raw::O_RDONLY).err(),
        Some(Errno::EACCES)
    );
    assert_eq!(
        open(&user, "/big", raw::O_WRONLY).err(),
        Some(Errno::EACCES)
    );
    assert!(open(&user, "/big", raw::O_RDONLY).is_ok());
    assert_eq!(user.set_permissions(&at, 0o777), Err(Errno::EPERM));
    assert_eq!(
        open(&user, "/new", raw::O_CREAT | raw::O_WRONLY).err(),
        Some(Errno::EACCES)
    );
    assert!(open(&root, "/dir/small", raw::O_RDWR).is_ok());
}

#[test]
fn a_moved_directory_has_its_new_path() {
    let caller = machine();
    let sub = caller.find(b"/dir/sub", Follow::Yes).unwrap();
    caller
        .rename((&caller.cwd, b"/dir"), (&caller.cwd, b"/new"), 0)
        .unwrap();
    assert_eq!(sub.path(&caller.root), b"/new/sub");
    assert_eq!(sub.parent(&caller.root).path(&caller.root), b"/new");
}
