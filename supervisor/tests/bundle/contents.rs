//! What is in a bundle that was signed by a trusted key: still only what its manifest says.

use super::support::{Entry, VERSION, World, good, manifest, rules};
use holdfast_supervisor::io::bundle::verify;
use holdfast_supervisor::release::{Limits, RUNTIME, Rules};
use tar::EntryType;

const MIB: usize = 1024 * 1024;

#[test]
fn the_forgers_good_bundle_is_good() {
    let world = World::new();
    assert_eq!(world.verify(&world.forge(&good())).unwrap().manifest().version, VERSION);
}

#[test]
fn links_devices_directories_and_extensions_are_refused() {
    let world = World::new();
    let kinds = [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Char,
        EntryType::Block,
        EntryType::Fifo,
        EntryType::Directory,
        EntryType::Continuous,
        EntryType::GNULongName,
        EntryType::GNULongLink,
        EntryType::GNUSparse,
        EntryType::XHeader,
        EntryType::XGlobalHeader,
    ];
    for kind in kinds {
        for at in [0, 1, 2] {
            let mut entries = good();
            entries.insert(at, Entry { kind, ..Entry::file(RUNTIME, b"path=../../x\n".to_vec()) });
            let code = world.code(&world.forge(&entries));
            let expected = if at == 0 { "bundle_manifest_invalid" } else { "bundle_entry_refused" };
            assert_eq!(code, expected, "{kind:?} at {at}");
        }
    }
}

#[test]
fn paths_out_of_the_slot_are_refused_in_archive_and_manifest() {
    let world = World::new();
    let paths: [&[u8]; 8] =
        [b"/etc/x", b"../x", b"bin/../../x", b"./x", b"bin//x", b"bin/x/", b"bin/\xff\xfe", b"bin/x\ny"];
    for path in paths {
        let mut entries = good();
        entries.push(Entry::file(path, *b"x"));
        let shown = String::from_utf8_lossy(path);
        assert_eq!(world.code(&world.forge(&entries)), "bundle_path_refused", "{shown}");
        let Ok(text) = std::str::from_utf8(path) else { continue };
        entries[0] = Entry::manifest(&manifest(&[(RUNTIME, b"a program"), (text, b"x")]));
        assert_eq!(world.code(&world.forge(&entries)), "bundle_path_refused", "{shown}");
    }
}

#[test]
fn files_that_are_too_many_too_few_or_twice_are_refused() {
    let world = World::new();
    let mut entries = good();
    entries.push(Entry::file("bin/other", *b"x"));
    assert_eq!(world.code(&world.forge(&entries)), "bundle_file_unexpected");
    let mut entries = good();
    entries.push(entries[1].clone());
    assert_eq!(world.code(&world.forge(&entries)), "bundle_file_unexpected");
    let mut entries = good();
    entries.push(entries[0].clone());
    assert_eq!(world.code(&world.forge(&entries)), "bundle_file_unexpected");
    assert_eq!(world.code(&world.forge(&good()[..1])), "bundle_file_missing");
    assert_eq!(world.code(&world.forge(&good()[1..])), "bundle_manifest_invalid");
    assert_eq!(world.code(&world.forge(&[])), "bundle_malformed");
}

#[test]
fn a_file_with_another_digest_or_size_is_refused() {
    let world = World::new();
    let mut entries = good();
    entries[1].data[0] ^= 1;
    assert_eq!(world.code(&world.forge(&entries)), "bundle_digest_mismatch");
    let mut entries = good();
    entries[1].data.push(0);
    assert_eq!(world.code(&world.forge(&entries)), "bundle_digest_mismatch");
    let mut entries = good();
    entries[1].size = Some(8);
    assert_eq!(world.code(&world.forge(&entries)), "bundle_digest_mismatch");
}

#[test]
fn bombs_are_refused_before_they_unfold() {
    let world = World::new();
    let zeros = vec![0u8; 64 * MIB];
    // Honest about its size: by the ratio. The archive is a few KiB.
    let mut entries = good();
    entries[0] = Entry::manifest(&manifest(&[(RUNTIME, b"a program"), ("bin/zeros", &zeros)]));
    entries.push(Entry::file("bin/zeros", zeros.clone()));
    assert_eq!(world.code(&world.forge(&entries)), "bundle_too_large");
    // Not honest: by the size in the archive.
    entries[0] = Entry::manifest(&manifest(&[(RUNTIME, b"a program"), ("bin/zeros", b"x")]));
    assert_eq!(world.code(&world.forge(&entries)), "bundle_digest_mismatch");
    // As its manifest, and behind the archive's end.
    assert_eq!(world.code(&world.forge(&[Entry::file("manifest.json", zeros.clone())])), "bundle_too_large");
    let mut bytes = std::fs::read(world.forge(&good())).unwrap();
    bytes.extend(zstd::encode_all(zeros.as_slice(), 3).unwrap());
    assert_eq!(world.code(&world.forge_bytes(&bytes)), "bundle_malformed");
}

#[test]
fn each_limit_is_held() {
    let world = World::new();
    let bundle = world.forge(&good());
    let code = |limits: Limits| {
        let rules = Rules { limits, ..rules() };
        verify(&bundle, &world.trusted(), &rules).map_or_else(|error| error.code(), |_| "")
    };
    assert_eq!(code(Limits::default()), "");
    assert_eq!(code(Limits { bundle_bytes: 100, ..Limits::default() }), "bundle_too_large");
    assert_eq!(code(Limits { unpacked_bytes: 8, ..Limits::default() }), "bundle_too_large");
    assert_eq!(code(Limits { files: 0, ..Limits::default() }), "bundle_too_large");
    assert_eq!(code(Limits { manifest_bytes: 10, ..Limits::default() }), "bundle_too_large");
    assert_eq!(code(Limits { ratio: 0, ratio_free_bytes: 8, ..Limits::default() }), "bundle_too_large");
}

#[test]
fn what_is_no_archive_is_refused() {
    let world = World::new();
    let plain = super::support::noise(5, 100_000);
    let cases = [Vec::new(), b"x".to_vec(), plain.clone(), zstd::encode_all(plain.as_slice(), 3).unwrap()];
    for bytes in cases {
        assert_eq!(world.code(&world.forge_bytes(&bytes)), "bundle_malformed");
    }
    let mut bytes = std::fs::read(world.forge(&good())).unwrap();
    bytes.extend(b"more");
    assert_eq!(world.code(&world.forge_bytes(&bytes)), "bundle_malformed");
}

#[test]
fn a_window_that_needs_much_memory_is_refused() {
    let world = World::new();
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(27).unwrap();
    std::io::Write::write_all(&mut encoder, &[0; 1024]).unwrap();
    assert_eq!(world.code(&world.forge_bytes(&encoder.finish().unwrap())), "bundle_malformed");
}

#[test]
fn a_fifo_or_a_directory_is_not_waited_for() {
    let world = World::new();
    let fifo = world.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(world.code(&fifo), "bundle_malformed");
    assert_eq!(world.code(&world.path("home")), "bundle_malformed");
}
