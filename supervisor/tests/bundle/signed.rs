//! Signature, keys, times and versions.

use super::support::{HOUR, NOW, VERSION, World, noise, rules};
use holdfast_shared::release::Part;
use holdfast_supervisor::io::bundle::{TrustedKeys, keys, signature_path, verify};
use holdfast_supervisor::io::signing::{SigningKey, generate};
use holdfast_supervisor::release::{RUNTIME, Rules};
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_packed_bundle_is_valid_and_says_what_is_in_it() {
    let world = World::new();
    let bundle = world.pack(VERSION);
    let verified = world.verify(&bundle).unwrap();
    let manifest = verified.manifest();
    assert_eq!((manifest.version.as_str(), manifest.created_at), (VERSION, NOW));
    let parts: Vec<(&str, Part)> =
        manifest.files.iter().map(|(path, file)| (path.as_str(), file.part)).collect();
    assert_eq!(
        parts,
        [("bin/holdfast", Part::Root), (RUNTIME, Part::Runtime), ("bin/holdfast-sidecar", Part::Root)]
    );
    assert_eq!(verified.key_name(), "test");
    assert_eq!(verified.bundle_bytes(), bundle.metadata().unwrap().len());
}

#[test]
fn the_same_tree_packed_again_is_the_same_bundle() {
    let world = World::new();
    let first = std::fs::read(world.pack(VERSION)).unwrap();
    assert!(first == std::fs::read(world.pack(VERSION)).unwrap());
}

#[test]
fn cut_at_every_4_kib_it_is_refused_by_its_signature() {
    let world = World::new();
    let bundle = world.pack(VERSION);
    let whole = std::fs::read(&bundle).unwrap();
    assert!(whole.len() > 1024 * 1024);
    for end in (0..whole.len()).step_by(4096) {
        std::fs::write(&bundle, &whole[..end]).unwrap();
        assert_eq!(world.code(&bundle), "bundle_signature_invalid", "cut at {end}");
    }
    std::fs::write(&bundle, &whole).unwrap();
    assert_eq!(world.code(&bundle), "");
}

#[test]
fn cut_and_signed_all_the_same_it_is_still_refused() {
    let world = World::new();
    let whole = std::fs::read(world.pack(VERSION)).unwrap();
    for end in (0..whole.len()).step_by(4096).chain(whole.len() - 12..whole.len()) {
        let code = world.code(&world.forge_bytes(&whole[..end]));
        assert!(["bundle_malformed", "bundle_manifest_invalid"].contains(&code), "cut at {end}: {code:?}");
    }
}

#[test]
fn a_flipped_bit_is_refused_wherever_it_is() {
    let world = World::new();
    let bundle = world.pack(VERSION);
    let whole = std::fs::read(&bundle).unwrap();
    for (count, at) in (0..whole.len()).step_by(16 * 1024 + 1).enumerate() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (count % 8);
        std::fs::write(&bundle, &flipped).unwrap();
        assert_eq!(world.code(&bundle), "bundle_signature_invalid", "bit of byte {at}");
        // Signed again: it does not decode, or to the same contents.
        if let Ok(verified) = world.verify(&world.forge_bytes(&flipped)) {
            assert_eq!(verified.manifest().version, VERSION);
        }
    }
}

#[test]
fn a_flipped_bit_of_the_signature_is_refused() {
    let world = World::new();
    let bundle = world.pack(VERSION);
    let path = signature_path(&bundle);
    let whole = std::fs::read(&path).unwrap();
    let comment = whole.iter().position(|byte| *byte == b'\n').unwrap();
    for at in comment + 1..whole.len() - 1 {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        let code = world.code(&bundle);
        assert!(["bundle_signature_invalid", "bundle_key_untrusted"].contains(&code), "byte {at}: {code:?}");
    }
}

#[test]
fn a_bundle_without_signature_or_with_anothers_is_refused() {
    let world = World::new();
    let bundle = world.pack(VERSION);
    let other = world.pack("1.5.0");
    std::fs::copy(signature_path(&other), signature_path(&bundle)).unwrap();
    assert_eq!(world.code(&bundle), "bundle_signature_invalid");
    std::fs::write(signature_path(&bundle), noise(7, 200)).unwrap();
    assert_eq!(world.code(&bundle), "bundle_signature_invalid");
    std::fs::remove_file(signature_path(&bundle)).unwrap();
    assert_eq!(world.code(&bundle), "bundle_signature_missing");
    assert_eq!(world.code(&world.path("nothing")), "bundle_unreadable");
}

#[test]
fn only_trusted_keys_count() {
    let world = World::new();
    let bundle = world.pack(VERSION);
    let stranger = generate(&world.path("stranger"), "stranger", None).unwrap();
    let untrusted = |keys: TrustedKeys| verify(&bundle, &keys, &rules()).unwrap_err().code();
    assert_eq!(untrusted(TrustedKeys::default()), "bundle_key_untrusted");
    assert_eq!(
        untrusted(TrustedKeys::load(&world.path("no-such-directory")).unwrap()),
        "bundle_key_untrusted"
    );
    assert_eq!(untrusted(TrustedKeys::single(&stranger.public).unwrap()), "bundle_key_untrusted");
    assert!(verify(&bundle, &TrustedKeys::single(&world.public).unwrap(), &rules()).is_ok());
    // Both are trusted: whose it is comes from the signature.
    keys::trust(&world.home.keys(), &stranger.public).unwrap();
    SigningKey::read(&stranger.secret, None).unwrap().sign(&bundle, "").unwrap();
    assert_eq!(world.verify(&bundle).unwrap().key_name(), "stranger");
}

#[test]
fn a_file_that_is_no_key_is_named_and_not_passed_over() {
    let world = World::new();
    std::fs::write(world.home.keys().join("other.pub"), "not a key\nat all\n").unwrap();
    let error = TrustedKeys::load(&world.home.keys()).unwrap_err();
    assert_eq!(error.code(), "trusted_key_unreadable");
    assert!(error.to_string().contains("other.pub"), "{error}");
    std::fs::remove_file(world.home.keys().join("other.pub")).unwrap();
    std::fs::write(world.home.keys().join("seen.json"), "{").unwrap();
    assert_eq!(TrustedKeys::load(&world.home.keys()).unwrap_err().code(), "trusted_key_unreadable");
}

#[test]
fn a_name_stands_for_one_key() {
    let world = World::new();
    keys::trust(&world.home.keys(), &world.public).unwrap();
    assert_eq!(world.trusted().keys().len(), 1);
    let other = generate(&world.path("elsewhere"), "test", None).unwrap();
    let refused = keys::trust(&world.home.keys(), &other.public).unwrap_err();
    assert_eq!(refused.code(), "trusted_key_unreadable");
    assert_eq!(world.trusted().keys().len(), 1);
}

#[test]
fn expired_downgraded_and_foreign_releases_are_refused() {
    let world = World::new();
    let bundle = world.pack(VERSION);
    let code =
        |rules: &Rules| verify(&bundle, &world.trusted(), rules).map_or_else(|error| error.code(), |_| "");
    assert_eq!(code(&Rules { now_ms: NOW + HOUR - 1, ..rules() }), "");
    assert_eq!(code(&Rules { now_ms: NOW + HOUR, ..rules() }), "bundle_expired");
    assert_eq!(code(&Rules { target: "riscv64".to_owned(), ..rules() }), "bundle_wrong_target");
    let future = [("link".to_owned(), holdfast_shared::version::VersionRange::only(99))].into();
    assert_eq!(code(&Rules { contracts: future, ..rules() }), "bundle_contract_range_mismatch");
    let id = world.verify(&bundle).unwrap().key().to_owned();
    keys::remember(&world.home.keys(), &id, "1.4.1").unwrap();
    keys::remember(&world.home.keys(), &id, "1.3.0").unwrap();
    assert_eq!(code(&rules()), "bundle_downgrade");
    assert_eq!(code(&Rules { allow_downgrade: true, ..rules() }), "");
    // Another key's version says nothing about this one's.
    std::fs::write(world.home.keys().join("seen.json"), r#"{"another": "9.0.0"}"#).unwrap();
    assert_eq!(code(&rules()), "");
}

#[test]
fn a_packer_does_not_sign_what_nodes_refuse() {
    let world = World::new();
    world.pack(VERSION);
    for (version, expires_at) in [("not-a-version", NOW + HOUR), ("1.0.0", NOW)] {
        let packing = holdfast_supervisor::io::packing::Packing {
            units: None,
            from: world.path("tree"),
            out: world.path("refused.tar.zst"),
            version: Some(version.to_owned()),
            created_at: NOW,
            expires_at,
        };
        assert!(holdfast_supervisor::io::packing::pack(&packing, &world.key).is_err());
        assert!(!world.path("refused.tar.zst").exists());
        assert!(!world.path("refused.tar.zst.minisig").exists());
    }
}

#[test]
fn keys_are_private_never_replaced_and_may_have_a_password() {
    let world = World::new();
    let directory = world.path("keys");
    let made = generate(&directory, "mine", Some("a password".to_owned())).unwrap();
    assert_eq!(made.secret.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(generate(&directory, "mine", None).is_err());
    assert!(SigningKey::read(&made.secret, None).is_err());
    assert!(SigningKey::read(&made.secret, Some("another".to_owned())).is_err());
    let key = SigningKey::read(&made.secret, Some("a password".to_owned())).unwrap();
    let bundle = world.forge_bytes(b"x");
    key.sign(&bundle, "").unwrap();
    let checked = verify(&bundle, &TrustedKeys::single(&made.public).unwrap(), &rules());
    assert_eq!(checked.unwrap_err().code(), "bundle_malformed");
}
