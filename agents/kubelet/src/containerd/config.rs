//! containerd's configuration file, from the agent's.

use std::fmt::Write;
use std::path::Path;

use crate::Config;
use crate::image::pause;

/// Plugins that need kernel features or programs a node may not have, and that nothing here uses.
const DISABLED: &[&str] = &[
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.internal.v1.tracing",
];

/// The file. With `restrict_oom`, scores that this process may not lower are left alone: without CAP_SYS_RESOURCE
/// every sandbox would fail to start.
pub(super) fn render(config: &Config, restrict_oom: bool) -> String {
    let c = &config.containerd;
    let sandbox_image = c.sandbox_image.as_deref().unwrap_or(pause::NAME);
    let disabled = DISABLED.iter().map(|p| quote(p)).collect::<Vec<_>>().join(", ");
    let mut out = String::from("# Written by the node agent at each start; changes are lost.\nversion = 2\n");
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "root = {root}\nstate = {state}\noom_score = 0\ndisabled_plugins = [{disabled}]\n\n\
         [grpc]\n  address = {socket}\n\n\
         [plugins.\"io.containerd.internal.v1.opt\"]\n  path = {opt}\n\n\
         [plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = {sandbox}\n  restrict_oom_score_adj = {restrict_oom}\n  \
         disable_apparmor = {no_apparmor}\n  stream_server_address = \"127.0.0.1\"\n  stream_server_port = \"0\"\n  \
         [plugins.\"io.containerd.grpc.v1.cri\".containerd]\n    snapshotter = {snapshotter}\n    \
         default_runtime_name = \"runc\"\n    \
         [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n      \
         runtime_type = \"io.containerd.runc.v2\"\n      \
         [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n        SystemdCgroup = false\n  \
         [plugins.\"io.containerd.grpc.v1.cri\".cni]\n    bin_dir = {cni_bin}\n    conf_dir = {cni_conf}\n  \
         [plugins.\"io.containerd.grpc.v1.cri\".registry]\n    config_path = {registry}\n",
        root = quote_path(&c.root_dir),
        state = quote_path(&c.state_dir),
        socket = quote_path(&c.socket),
        opt = quote_path(&c.root_dir.join("opt")),
        sandbox = quote(sandbox_image),
        no_apparmor = !Path::new("/sys/kernel/security/apparmor").exists(),
        snapshotter = quote(&c.snapshotter),
        cni_bin = quote_path(&config.cni_bin_dir),
        cni_conf = quote_path(&config.cni_conf_dir),
        registry = quote_path(&c.registry_conf_dir),
    );
    out
}

/// A TOML basic string.
fn quote(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            c if c.is_control() => format!("\\u{:04x}", c as u32),
            c => c.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}

fn quote_path(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_detected_facts_are_written() {
        let mut config = Config::new("n", std::net::IpAddr::from([10, 0, 0, 1]));
        config.containerd.root_dir = "/data/with \"quote\"".into();
        let text = render(&config, true);
        assert!(text.contains(r#"root = "/data/with \"quote\"""#));
        assert!(text.contains("restrict_oom_score_adj = true"));
        assert!(text.contains(&format!("sandbox_image = \"{}\"", pause::NAME)));
    }
}
