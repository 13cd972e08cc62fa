//! Members' disks as files, so that a disk can fill up, slow down, or lose power without its machine. Each is an ext4 on a
//! loop device; a power loss shuts the file system down without writing its log, so that exactly what was synced is left.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;

use crate::leftovers;
use crate::limits::DISK_BYTES;
use crate::shell::{on, quietly, run, sh};

/// Bytes a second that a slow disk writes.
const SLOW_BYTES_PER_SECOND: u64 = 1 << 20;
/// What may be left of a full disk: its member may free something while it is filled.
const FULL_LEFT_BYTES: u64 = 1 << 20;
/// `FS_IOC_SHUTDOWN` without writing the journal. nix has no such call, and every Debian has perl.
const SHUTDOWN: &str =
    "open(my $d, '<', $ARGV[0]) or die $!; my $f = pack('L', 2); ioctl($d, 0x8004587d, $f) or die $!";

pub(crate) struct Disk {
    image: PathBuf,
    mount: PathBuf,
    device: String,
    cgroup: PathBuf,
    /// Why its member's process is not in the group, if it is not.
    not_adopted: Mutex<Option<String>>,
}

impl Disk {
    /// Makes a file system in `image` and mounts it at `mount`.
    ///
    /// # Errors
    /// A tool fails; usually for want of root or loop devices.
    pub(crate) fn create(image: PathBuf, mount: &Path, name: &str) -> anyhow::Result<Disk> {
        std::fs::create_dir_all(mount)?;
        let file = File::create(&image).with_context(|| format!("cannot create {}", image.display()))?;
        let made = || {
            file.set_len(DISK_BYTES)?;
            on("mkfs.ext4 -q -F -m 0", &image)?;
            on("losetup -f --show", &image)
        };
        // Without a device, nobody would find the file again.
        let device = made().inspect_err(|_| drop(std::fs::remove_file(&image)))?;
        let device = device.trim().to_string();
        let cgroup = leftovers::group(name);
        let disk = Disk {
            image,
            mount: mount.into(),
            device,
            cgroup,
            not_adopted: Mutex::default(),
        };
        disk.attach()?;
        // Only slow disks need it; a kernel without blkio has none.
        let _ = std::fs::create_dir(&disk.cgroup);
        Ok(disk)
    }

    fn attach(&self) -> anyhow::Result<()> {
        on(&format!("mount -t ext4 {}", self.device), &self.mount).map(drop)
    }

    /// Takes a process into the group whose writes [`Disk::slow`] slows.
    pub(crate) fn adopt(&self, process: u32) {
        let file = self.cgroup.join("cgroup.procs");
        let adopted = std::fs::write(&file, process.to_string());
        let why = adopted
            .err()
            .map(|error| format!("cannot write {}: {error}", file.display()));
        *self.not_adopted.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Leaves no byte free, but for what the member itself frees meanwhile.
    ///
    /// # Errors
    /// It did not become full.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        let bytes = self.available()?.to_string();
        // The last few blocks go to a second file, as the first one's own blocks are not counted.
        let ballast = self.ballast();
        let allocated = run("fallocate", &["-l", &bytes, &ballast.display().to_string()]);
        // That it ends because nothing is left is what is wanted.
        let rest = format!("of={}.rest", ballast.display());
        let copied = run("dd", &["if=/dev/zero", "bs=4096", &rest]);
        let left = self.available()?;
        anyhow::ensure!(
            left <= FULL_LEFT_BYTES,
            "{left} bytes are still free on {}: {allocated:?}, {copied:?}",
            self.mount.display()
        );
        Ok(())
    }

    fn available(&self) -> anyhow::Result<u64> {
        let said = on("df --output=avail -B1", &self.mount)?;
        let bytes = said.lines().last().unwrap_or_default().trim();
        bytes.parse().with_context(|| format!("df says {said:?}"))
    }

    pub(crate) fn free(&self) {
        let ballast = self.ballast();
        let files = [ballast.with_extension("rest"), ballast];
        let removed = files.iter().filter(|file| std::fs::remove_file(file).is_ok()).count();
        if removed > 0 {
            // A loss of power soon after would bring them back, and the member would end on a disk that is called sound.
            let _ = File::open(&self.mount).and_then(|mount| mount.sync_all());
        }
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("ballast")
    }

    /// # Errors
    /// The kernel cannot throttle this device, or the member's process.
    pub(crate) fn slow(&self) -> anyhow::Result<()> {
        if let Some(why) = &*self.not_adopted.lock().unwrap_or_else(PoisonError::into_inner) {
            anyhow::bail!("the member's writes cannot be slowed: {why}");
        }
        self.throttle(SLOW_BYTES_PER_SECOND)
    }

    pub(crate) fn fast(&self) {
        let _ = self.throttle(0);
    }

    fn throttle(&self, bytes_per_second: u64) -> anyhow::Result<()> {
        let number = sh(&format!("lsblk -dno MAJ:MIN {}", self.device))?;
        let file = self.cgroup.join("blkio.throttle.write_bps_device");
        std::fs::write(&file, format!("{} {bytes_per_second}", number.trim()))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// Loses what was not synced. The member on it must be dead by the end of this call, and is started again after
    /// [`Disk::power_on`].
    ///
    /// # Errors
    /// The file system cannot be shut down.
    pub(crate) fn power_off(&self) -> anyhow::Result<()> {
        run("perl", &["-e", SHUTDOWN, &self.mount.display().to_string()]).map(drop)
    }

    /// # Errors
    /// The file system cannot be mounted again.
    pub(crate) fn power_on(&self) -> anyhow::Result<()> {
        on("umount", &self.mount)?;
        self.attach()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = on("umount -l", &self.mount);
        quietly(&format!("losetup -d {}", self.device));
        let _ = std::fs::remove_dir(&self.cgroup);
        let _ = std::fs::remove_file(&self.image);
    }
}
