//! Having systemd run a machine's processes: it starts them at boot, and again when they end.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::{Host, Part};

/// There while systemd runs the machine; systemd's own convention.
const RUNNING: &str = "/run/systemd/system";
const UNITS: &str = "/etc/systemd/system";

/// Whether systemd runs this machine.
pub fn runs(host: &Host) -> bool {
    host.is_real() && Path::new(RUNNING).is_dir()
}

/// The name of a part's unit.
pub fn unit(part: &Part) -> String {
    format!("proreus-{}.service", part.name)
}

/// Writes the unit, and has it started now and at every boot.
pub fn enable(part: &Part) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot find this program")?;
    pki::write_public(&Path::new(UNITS).join(unit(part)), &text(part, &program))?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["enable", "--now", &unit(part)])
}

/// Stops the unit for good and removes it, if it is there.
pub fn disable(part: &Part) -> anyhow::Result<()> {
    let file = Path::new(UNITS).join(unit(part));
    if !file.exists() {
        return Ok(());
    }
    systemctl(&["disable", "--now", &unit(part)])?;
    std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    systemctl(&["daemon-reload"])
}

fn systemctl(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("systemctl").args(arguments).stdin(Stdio::null()).output();
    let output = output.context("cannot run systemctl")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`systemctl {}` failed: {}",
        arguments.join(" "),
        errors.trim()
    );
    Ok(())
}

/// A unit. Pods live in cgroups of their own and containerd's shims must outlive an agent, so only its main process is ended.
fn text(part: &Part, program: &Path) -> String {
    let (name, program, config) = (part.name, quoted(program), quoted(&part.config));
    format!(
        "# Written by proreus; `proreus reset` removes it.\n\
         [Unit]\nDescription=proreus {name}\nWants=network-online.target\nAfter=network-online.target\n\n\
         [Service]\nExecStart={program} {} --config {config}\nRestart=always\nRestartSec=2\nKillMode=process\n\
         Delegate=yes\nLimitNOFILE=1048576\nTasksMax=infinity\nTimeoutStopSec=120\n\n\
         [Install]\nWantedBy=multi-user.target\n",
        part.command
    )
}

/// One word of a command line, as systemd reads it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%")
        .replace('$', "$$");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_runs_the_part_with_its_configuration() {
        let host = Host::at(Path::new("/")).unwrap();
        let text = text(&host.server(), Path::new("/opt/100% mine/proreus"));
        let line = r#"ExecStart="/opt/100%% mine/proreus" server --config "/etc/proreus/server.yaml""#;
        assert!(text.lines().any(|l| l == line), "{text}");
        assert_eq!(unit(&host.agent()), "proreus-agent.service");
    }
}
