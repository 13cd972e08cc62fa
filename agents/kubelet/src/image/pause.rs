//! The process that holds a pod's namespaces open, as a complete static program of a few hundred bytes.
//!
//! It is PID 1 of the sandbox (and of the whole pod when the PID namespace is shared), so it must do three things:
//! exit on SIGTERM and SIGINT (the kernel ignores them for a PID 1 without a handler), let the kernel reap orphans
//! (SIGCHLD ignored), and otherwise sleep without using the CPU.
//!
//! Left out: other architectures than x86_64; there the sandbox image must be configured.

use super::{ImageConfig, Layer, OciImage};

/// The name under which the pause image is imported and given to the runtime.
pub const NAME: &str = "proreus.io/pause:1";

/// Where the program is loaded. Any page-aligned address will do; this one is the linker's custom.
const BASE: u64 = 0x40_0000;
const ELF_HEADER_SIZE: u64 = 64;
const PROGRAM_HEADER_SIZE: u64 = 56;
const CODE_OFFSET: u64 = ELF_HEADER_SIZE + PROGRAM_HEADER_SIZE;

/// x86_64 code. Each `sigaction` record follows the code (see [`sigaction`]); its RIP-relative distance stands in the
/// four bytes after `48 8d 35`, counted from the next instruction.
#[rustfmt::skip]
const CODE: [u8; 94] = [
    // rt_sigaction(SIGCHLD, &ignore, NULL, 8): children that end leave no zombie
    0xb8, 0x0d, 0x00, 0x00, 0x00,             //  0  mov  eax, 13        rt_sigaction
    0xbf, 0x11, 0x00, 0x00, 0x00,             //  5  mov  edi, 17        SIGCHLD
    0x48, 0x8d, 0x35, 0x4d, 0x00, 0x00, 0x00, // 10  lea  rsi, [rip+77]  -> 94, `ignore`
    0x31, 0xd2,                               // 17  xor  edx, edx
    0x41, 0xba, 0x08, 0x00, 0x00, 0x00,       // 19  mov  r10d, 8        size of the signal mask
    0x0f, 0x05,                               // 25  syscall
    // rt_sigaction(SIGTERM, &leave, NULL, 8)
    0xb8, 0x0d, 0x00, 0x00, 0x00,             // 27  mov  eax, 13
    0xbf, 0x0f, 0x00, 0x00, 0x00,             // 32  mov  edi, 15        SIGTERM
    0x48, 0x8d, 0x35, 0x52, 0x00, 0x00, 0x00, // 37  lea  rsi, [rip+82]  -> 126, `leave`
    0x0f, 0x05,                               // 44  syscall             rdx and r10 are as before
    // rt_sigaction(SIGINT, &leave, NULL, 8)
    0xb8, 0x0d, 0x00, 0x00, 0x00,             // 46  mov  eax, 13
    0xbf, 0x02, 0x00, 0x00, 0x00,             // 51  mov  edi, 2         SIGINT
    0x48, 0x8d, 0x35, 0x3f, 0x00, 0x00, 0x00, // 56  lea  rsi, [rip+63]  -> 126, `leave`
    0x0f, 0x05,                               // 63  syscall
    // for (;;) pause();
    0xb8, 0x22, 0x00, 0x00, 0x00,             // 65  mov  eax, 34        pause
    0x0f, 0x05,                               // 70  syscall
    0xeb, 0xf7,                               // 72  jmp  -9             -> 65
    // the handler: exit_group(0)
    0xb8, 0xe7, 0x00, 0x00, 0x00,             // 74  mov  eax, 231       exit_group
    0x31, 0xff,                               // 79  xor  edi, edi
    0x0f, 0x05,                               // 81  syscall
    0x90, 0x90, 0x90, 0x90, 0x90, 0x90,       // 83  nop ...
    0x90, 0x90, 0x90, 0x90, 0x90,             // 89  nop ...             94 is where the records begin
];

/// Offset of the handler within [`CODE`].
const HANDLER: u64 = 74;
const SIG_IGN: u64 = 1;
/// x86_64 delivers no signal to a handler without this flag. The restorer is never reached: the handler exits.
const SA_RESTORER: u64 = 0x0400_0000;

/// The kernel's `struct sigaction`: handler, flags, restorer, mask.
fn sigaction(handler: u64, flags: u64) -> [u8; 32] {
    let mut record = [0; 32];
    for (slot, value) in record.chunks_exact_mut(8).zip([handler, flags, handler, 0]) {
        slot.copy_from_slice(&value.to_le_bytes());
    }
    record
}

/// The program as an ELF file, or `None` on an architecture for which there is none.
pub fn program() -> Option<Vec<u8>> {
    (std::env::consts::ARCH == "x86_64").then(x86_64)
}

fn x86_64() -> Vec<u8> {
    let mut body = CODE.to_vec();
    body.extend_from_slice(&sigaction(SIG_IGN, 0));
    body.extend_from_slice(&sigaction(BASE + CODE_OFFSET + HANDLER, SA_RESTORER));
    let size = CODE_OFFSET + body.len() as u64;

    let mut elf = Vec::with_capacity(size as usize);
    elf.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"); // 64 bit, little endian, System V
    elf.extend_from_slice(&2u16.to_le_bytes()); // an executable
    elf.extend_from_slice(&62u16.to_le_bytes()); // x86_64
    elf.extend_from_slice(&1u32.to_le_bytes());
    for field in [BASE + CODE_OFFSET, ELF_HEADER_SIZE, 0] {
        elf.extend_from_slice(&field.to_le_bytes()); // entry, program headers, section headers
    }
    elf.extend_from_slice(&0u32.to_le_bytes());
    for field in [ELF_HEADER_SIZE as u16, PROGRAM_HEADER_SIZE as u16, 1, 0, 0, 0] {
        elf.extend_from_slice(&field.to_le_bytes());
    }
    elf.extend_from_slice(&1u32.to_le_bytes()); // PT_LOAD
    elf.extend_from_slice(&5u32.to_le_bytes()); // readable, executable
    for field in [0, BASE, BASE, size, size, 0x1000] {
        elf.extend_from_slice(&field.to_le_bytes()); // offset, addresses, sizes, alignment
    }
    elf.extend_from_slice(&body);
    elf
}

/// The pause image, or `None` where there is no program for the architecture.
pub fn image() -> Option<OciImage> {
    let layer = Layer::new().file("pause", 0o755, &program()?).ok()?;
    let config = ImageConfig {
        entrypoint: vec!["/pause".into()],
        ..Default::default()
    };
    Some(OciImage {
        name: NAME.into(),
        layer,
        config,
    })
}

#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn records_follow_the_code() {
        for (at, target) in [(10, 94), (37, 126), (56, 126)] {
            let distance = u32::from_le_bytes(CODE[at + 3..at + 7].try_into().unwrap());
            assert_eq!(at as u32 + 7 + distance, target);
        }
    }

    /// A pod whose pause ignores SIGTERM takes the whole grace period to delete.
    #[test]
    fn it_runs_sleeps_and_exits_cleanly_on_sigterm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pause");
        std::fs::write(&path, program().unwrap()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut child = std::process::Command::new(&path).spawn().unwrap();
        let pid = child.id();
        // SigCgt lists SIGTERM (bit 14) once the handler stands; until then a signal would kill, not exit.
        loop {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let caught = status
                .lines()
                .find_map(|l| l.strip_prefix("SigCgt:"))
                .unwrap()
                .trim()
                .to_owned();
            if u64::from_str_radix(&caught, 16).unwrap() & (1 << 1) != 0 {
                break;
            }
            assert!(child.try_wait().unwrap().is_none(), "pause ended by itself");
            std::thread::yield_now();
        }
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid as i32),
            nix::sys::signal::Signal::SIGTERM,
        )
        .unwrap();
        let status = child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(0), None));
    }
}
