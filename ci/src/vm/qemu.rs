//! The machine that QEMU is asked for.
//!
//! No KVM is needed. A `/dev/kvm` that opens proves nothing: under a paravirtual hypervisor it does, and an unmodified
//! kernel crawls in it. So it is used only where the processor says that it can virtualize.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;

/// Memory of a machine, in MiB; the host gives what is used. The largest transactions of driver-nft's tests need more
/// than half of it.
const MEMORY_MIB: u32 = 1024;

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl Accelerator {
    /// The fastest one that works here.
    pub(super) fn here() -> Self {
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let opens = || OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        if can_virtualize(&processor) && opens() { Self::Kvm } else { Self::Tcg }
    }

    const fn option(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg,thread=multi",
        }
    }

    /// The translator is slow at five levels of page tables and at copying by microcode.
    const fn processor(self) -> &'static str {
        match self {
            Self::Kvm => "host",
            Self::Tcg => "max,la57=off,erms=off,fsrm=off",
        }
    }
}

/// Whether `/proc/cpuinfo` names Intel's or AMD's extension.
fn can_virtualize(processor: &str) -> bool {
    processor.split_whitespace().any(|flag| flag == "vmx" || flag == "svm")
}

/// A machine.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) accelerator: Accelerator,
    /// The unpacked kernel.
    pub(super) kernel: PathBuf,
    pub(super) initramfs: PathBuf,
    /// The directory that tells the machine what to do.
    pub(super) job: PathBuf,
    /// The directory that the machine may write to.
    pub(super) project: PathBuf,
}

/// How a machine starts, and where it ends.
#[derive(Clone, Debug)]
pub(super) enum Start {
    /// From the kernel; what it says on its console goes to this file.
    Boot { console: PathBuf },
    /// From a saved machine.
    Resume { saved: PathBuf, console: PathBuf },
    /// From the kernel, to be saved: its console is standard output, and its monitor listens at this socket.
    Save { monitor: PathBuf },
}

impl Machine {
    /// The kernel's command line (`Documentation/admin-guide/kernel-parameters.rst`).
    ///
    /// It ends instead of hanging, tests no ciphers, and waits for no entropy. Under the translator programs lie at
    /// the same addresses each time: QEMU finds its translations again, which doubles the speed of starting one.
    pub(super) fn command_line(&self) -> String {
        let words =
            ["console=ttyS0", "quiet", "panic=-1", "reboot=t", "cryptomgr.notests", "random.trust_cpu=on"];
        let mut line = words.join(" ");
        if self.accelerator == Accelerator::Tcg {
            line.push_str(" norandmaps");
        }
        line
    }

    /// The arguments of `qemu-system-x86_64`. With [`Start::Boot`] and [`Start::Resume`] the command's port is standard
    /// input and output.
    pub(super) fn arguments(&self, start: &Start) -> Vec<String> {
        let mut arguments = vec![
            "-name mnp-nft-bridge-vm -M q35 -smp 1 -nodefaults -no-user-config -display none -no-reboot"
                .split(' ')
                .map(str::to_owned)
                .collect(),
            option("-m", MEMORY_MIB),
            option("-accel", self.accelerator.option()),
            option("-cpu", self.accelerator.processor()),
            option("-kernel", self.kernel.display()),
            option("-initrd", self.initramfs.display()),
            option("-append", self.command_line()),
            share("root", "/", ",readonly=on"),
            share("job", &self.job.display().to_string(), ""),
            share("project", &self.project.display().to_string(), ""),
            option("-device", "virtio-serial-pci"),
        ];
        let (port, console) = match start {
            Start::Boot { console } | Start::Resume { console, .. } => {
                ("stdio,id=command,signal=off".to_owned(), format!("file:{}", escaped(&console.display())))
            }
            Start::Save { .. } => ("null,id=command".to_owned(), "stdio".to_owned()),
        };
        arguments.push(option("-chardev", port));
        arguments.push(option("-device", "virtserialport,chardev=command,name=command"));
        arguments.push(option("-serial", console));
        match start {
            Start::Boot { .. } => {}
            Start::Resume { saved, .. } => {
                arguments
                    .push(option("-incoming", format!("exec:cat {}", quoted(&saved.display().to_string()))));
            }
            Start::Save { monitor } => {
                let monitor = format!("unix:{},server=on,wait=off", escaped(&monitor.display()));
                arguments.push(option("-monitor", monitor));
            }
        }
        arguments.concat()
    }
}

fn option(name: &str, value: impl core::fmt::Display) -> Vec<String> {
    vec![name.to_owned(), value.to_string()]
}

/// A directory of the host, by 9p. Files are the user's who runs QEMU, whatever the guest thinks.
fn share(tag: &str, path: &str, more: &str) -> Vec<String> {
    let path = escaped(&path);
    let directory = format!("local,id={tag},path={path},security_model=none,multidevs=remap{more}");
    let device = format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}");
    [option("-fsdev", directory), option("-device", device)].concat()
}

/// In QEMU's options a comma ends a value unless it is doubled.
fn escaped(value: &impl core::fmt::Display) -> String {
    value.to_string().replace(',', ",,")
}

/// A word for any POSIX shell.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use test_case::test_case;

    use super::{Accelerator, Machine, Start, can_virtualize, quoted};

    fn machine(accelerator: Accelerator) -> Machine {
        let [kernel, initramfs, job, project] =
            ["/c/vmlinux", "/c/initramfs", "/c/job", "/home/a,b"].map(PathBuf::from);
        Machine { accelerator, kernel, initramfs, job, project }
    }

    #[test]
    fn only_the_translator_wants_fixed_addresses() {
        let quiet = "console=ttyS0 quiet panic=-1 reboot=t cryptomgr.notests random.trust_cpu=on";
        assert_eq!(machine(Accelerator::Kvm).command_line(), quiet);
        assert_eq!(machine(Accelerator::Tcg).command_line(), format!("{quiet} norandmaps"));
    }

    #[test]
    fn comma_in_a_path_does_not_end_the_option() {
        let start = Start::Boot { console: PathBuf::from("/c/x,y") };
        let arguments = machine(Accelerator::Tcg).arguments(&start);
        assert!(
            arguments
                .contains(&"local,id=project,path=/home/a,,b,security_model=none,multidevs=remap".to_owned())
        );
        assert!(arguments.contains(&"file:/c/x,,y".to_owned()));
        assert!(
            arguments
                .contains(&"local,id=root,path=/,security_model=none,multidevs=remap,readonly=on".to_owned())
        );
    }

    #[test]
    fn saved_machine_has_the_devices_of_the_one_that_resumes() {
        let devices = |start: &Start| {
            let arguments = machine(Accelerator::Tcg).arguments(start);
            let devices = arguments.windows(2).filter(|pair| pair[0] == "-device");
            devices.map(|pair| pair[1].clone()).collect::<Vec<_>>()
        };
        let (saved, console) = (PathBuf::from("/c/saved"), PathBuf::from("/c/console"));
        let save = devices(&Start::Save { monitor: PathBuf::from("/c/monitor") });
        assert_eq!(save, devices(&Start::Resume { saved, console }));
        assert_eq!(save.len(), 5);
    }

    #[test_case("flags\t: fpu vmx sse" => true)]
    #[test_case("flags\t: fpu svm" => true)]
    #[test_case("flags\t: fpu svm_lock avmx" => false; "whole words")]
    fn processor_says_whether_it_can_virtualize(processor: &str) -> bool {
        can_virtualize(processor)
    }

    #[test]
    fn any_word_survives_the_shell() {
        let word = "it's $HOME `x` \"y\" \\ \n z";
        let printed = Command::new("sh").args(["-c", &format!("printf %s {}", quoted(word))]).output();
        assert_eq!(printed.expect("sh runs").stdout, word.as_bytes());
    }
}
