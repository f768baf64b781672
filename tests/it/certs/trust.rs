//! Tests what `portcullis cert trust` prints and writes. `real::cert_trust` tests that clients then trust the server.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::openssl;
use crate::support::portcullis_server::{BINARY, portcullis_command};
use crate::support::{ServerDir, ToolCommand};

#[test]
fn trust_is_written_once_and_the_second_time_nothing_changes() {
    let stage = ServerDir::new();
    drop(stage.start());
    let ca = fs::read_to_string(stage.path("certs/ca.crt")).unwrap();
    let apply = |client: &str| {
        stage.portcullis_command().args([
            "cert",
            "trust",
            client,
            "--host",
            "registry.test:8443",
            "--apply",
            "--root",
            "image",
        ])
    };
    fs::create_dir_all(stage.path("image/usr/local/share/ca-certificates")).unwrap();
    for (client, path) in [
        ("docker", "etc/docker/certs.d/registry.test:8443/ca.crt"),
        ("containerd", "etc/containerd/certs.d/registry.test:8443/ca.crt"),
        ("podman", "etc/containers/certs.d/registry.test:8443/ca.crt"),
        ("os", "usr/local/share/ca-certificates/portcullis-registry.test_8443.crt"),
    ] {
        let output = apply(client).run_ok();
        assert!(output.stderr.contains(&format!("wrote image/{path}\n")), "{output}");
        assert_eq!(fs::read_to_string(stage.path("image").join(path)).unwrap(), ca);
        let again = apply(client).run_ok();
        assert!(
            again.stderr.contains(&format!("unchanged image/{path}\n")) && !again.stderr.contains("wrote"),
            "{again}"
        );
    }
    // Lines that an operator wrote into the same file are kept.
    let hosts = stage.write("image/etc/containerd/certs.d/registry.test:8443/hosts.toml", "# mine\n");
    apply("containerd").run_failing().assert_prints_one_of(&["hosts.toml: the file exists and has other settings"]);
    assert_eq!(fs::read_to_string(hosts).unwrap(), "# mine\n");
    // containerd reads the directory HOST_PORT_ first.
    fs::create_dir_all(stage.path("image/etc/containerd/certs.d/registry.test_8443_")).unwrap();
    apply("containerd").run_ok();
    assert!(stage.path("image/etc/containerd/certs.d/registry.test_8443_/hosts.toml").exists());
}

#[test]
fn trust_on_another_machine_needs_nothing_but_the_certificate_and_refuses_what_is_none() {
    let stage = ServerDir::new();
    drop(stage.start());
    let elsewhere = tempfile::tempdir().unwrap();
    let trust = |ca: &str| {
        let tool = portcullis_command().folder(elsewhere.path());
        tool.args(["cert", "trust", "podman", "--host", "registry.test", "--ca", ca, "--apply", "--root", "root"])
    };
    fs::copy(stage.path("certs/ca.crt"), elsewhere.path().join("ca.crt")).unwrap();
    fs::copy(stage.path("certs/server.crt"), elsewhere.path().join("server.crt")).unwrap();
    trust("ca.crt").run_ok();
    assert!(elsewhere.path().join("root/etc/containers/certs.d/registry.test/ca.crt").exists());
    trust("server.crt").run_failing().assert_prints_one_of(&["is not a certificate authority"]);
    trust("missing.crt").run_failing().assert_prints_one_of(&["missing.crt: No such file"]);
}

#[test]
fn the_printed_script_does_what_apply_does() {
    let stage = ServerDir::new();
    drop(stage.start());
    // A `sudo` that needs no rights, in a directory of the test's own.
    fs::create_dir_all(stage.path("bin")).unwrap();
    stage.write("bin/sudo", "#!/bin/sh\nexec \"$@\"\n");
    stage.write("bin/update-ca-certificates", "#!/bin/sh\necho taken up\n");
    ToolCommand::new("chmod").args(["755", "sudo", "update-ca-certificates"]).folder(&stage.path("bin")).run_ok();
    let root = stage.path("root");
    for client in ["docker", "containerd", "podman", "os"] {
        let arguments = ["cert", "trust", client, "--host", "[::1]:8443"];
        let script = stage.portcullis_command().args(arguments).run_ok().stdout;
        let script = script.replace("/etc/", &format!("{}/etc/", root.display()));
        let script = script.replace("/usr/", &format!("{}/usr/", root.display()));
        let path = format!("{}:{}", stage.path("bin").display(), std::env::var("PATH").unwrap());
        let ran = ToolCommand::new("sh").args(["-e"]).env("PATH", path).input(&script).run_ok();
        assert_eq!(ran.stdout.contains("taken up"), client == "os", "{ran}");
        let output = stage.portcullis_command().args(arguments).args(["--apply", "--root", "root"]).run_ok();
        assert!(output.stderr.contains("unchanged") && !output.stderr.contains("wrote"), "{script}\n{output}");
    }
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn debians_update_ca_certificates_takes_up_what_is_put_into_its_folder() {
    let stage = ServerDir::new();
    drop(stage.start());
    for folder in ["image/usr/local/share/ca-certificates", "image/etc/ssl/certs"] {
        fs::create_dir_all(stage.path(folder)).unwrap();
    }
    let output = stage.portcullis_command().args(["cert", "trust", "os", "--apply", "--root", "image"]).run_ok();
    assert!(output.stderr.contains("run update-ca-certificates there"), "{output}");
    let (own, all) = (stage.path("image/usr/local/share/ca-certificates"), stage.path("image/etc/ssl/certs"));
    let update = ToolCommand::new("update-ca-certificates").arg("--localcertsdir").arg(own);
    update.arg("--etccertsdir").arg(all).run_ok();
    let bundle = "image/etc/ssl/certs/ca-certificates.crt";
    openssl(stage.folder(), &format!("verify -no-CAfile -no-CApath -CAfile {bundle} certs/server.crt"));
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn whoever_may_not_write_there_is_told_to_use_sudo_and_nothing_is_written() {
    let stage = ServerDir::new();
    drop(stage.start());
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(folder.path().join("root")).unwrap();
    fs::copy(stage.path("certs/ca.crt"), folder.path().join("ca.crt")).unwrap();
    fs::copy(BINARY, folder.path().join("portcullis")).unwrap();
    for client in ["docker", "containerd", "podman"] {
        let nobody = ToolCommand::new("setpriv").args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "./portcullis",
        ]);
        let trust =
            nobody.folder(folder.path()).args(["cert", "trust", client, "--host", "registry.test", "--ca", "ca.crt"]);
        let refused = trust.args(["--apply", "--root", "root"]).run_failing();
        assert!(refused.stderr.contains("Permission denied") && refused.stderr.contains("sudo"), "{refused}");
        assert_eq!(folder.path().join("root").read_dir().unwrap().count(), 0);
    }
}
