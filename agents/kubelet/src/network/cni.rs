//! The CNI configuration of the default network.

use std::fs;
use std::io::Write;

use serde_json::{Value, json};

use crate::{Config, Error};

/// Sorts before what others install, as the runtime takes the first file.
const FILE: &str = "10-proreus.conflist";
/// The bridge all pods of the node are on.
pub(super) const BRIDGE: &str = "cni0";

/// Writes the configuration for this podCIDR, if it is not there yet. The runtime notices by itself.
pub fn write_config(config: &Config, pod_cidr: &str) -> Result<(), Error> {
    let path = config.cni_conf_dir.join(FILE);
    let text = format!("{:#}\n", conflist(config, pod_cidr));
    if fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let dir = &config.cni_conf_dir;
    fs::create_dir_all(dir).map_err(Error::file("create directory", dir))?;
    // Written under a name the runtime ignores, so that it never reads half of it.
    let temporary = dir.join(format!(".{FILE}.tmp"));
    let mut file = fs::File::create(&temporary).map_err(Error::file("create", &temporary))?;
    file.write_all(text.as_bytes())
        .map_err(Error::file("write", &temporary))?;
    file.sync_all().map_err(Error::file("sync", &temporary))?;
    fs::rename(&temporary, &path).map_err(Error::file("rename to", &path))
}

fn conflist(config: &Config, pod_cidr: &str) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "proreus",
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isGateway": true,
                "isDefaultGateway": true,
                // A pod that reaches itself through a service needs its packet back on the port it came from.
                "hairpinMode": true,
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "dataDir": config.cni_state_dir,
                    "ranges": [[{ "subnet": pod_cidr }]],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true }, "snat": true },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_once_and_follows_the_cidr() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new("n", std::net::IpAddr::from([10, 0, 0, 1]));
        config.cni_conf_dir = dir.path().join("net.d");
        write_config(&config, "10.244.1.0/24").unwrap();
        write_config(&config, "10.244.2.0/24").unwrap();
        let names: Vec<_> = fs::read_dir(&config.cni_conf_dir)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, [FILE]);
        let text = fs::read_to_string(config.cni_conf_dir.join(FILE)).unwrap();
        assert!(text.contains("10.244.2.0/24") && !text.contains("10.244.1.0/24"));
    }
}
