// SPDX-License-Identifier: BSD-2-Clause
//! One running virtual machine: its process, its serial line, its log. The process
//! is gone when the machine is dropped, and on Ctrl-C.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::console::{Event, Watcher};

type SharedChild = Arc<Mutex<Child>>;

static RUNNING: Mutex<Vec<SharedChild>> = Mutex::new(Vec::new());
static HANDLER: Once = Once::new();

/// Exit status of a program that was interrupted (128 + SIGINT).
const INTERRUPTED: i32 = 130;

/// A virtual machine and the other end of its serial line.
pub struct Machine {
    child: SharedChild,
    input: Box<dyn Write + Send>,
    output: Receiver<Vec<u8>>,
    watcher: Watcher,
    log: File,
    started: Instant,
    clean_up: Option<Command>,
    pace: Option<Duration>,
}

/// Bytes that go out at a time to a machine with a pace.
const CHUNK: usize = 64;

impl Machine {
    /// Starts `command`, whose standard input and output are the guest's serial line.
    ///
    /// # Errors
    /// If the program or the log file cannot be had.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let mut child = spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()), log)?;
        let input = child.stdin.take().context("no standard input")?;
        let output = child.stdout.take().context("no standard output")?;
        Self::attach(child, Box::new(input), Box::new(output), log)
    }

    /// Takes over a process whose guest's serial line is somewhere else.
    ///
    /// # Errors
    /// If the log file cannot be had.
    pub fn attach(
        child: Child,
        input: Box<dyn Write + Send>,
        output: Box<dyn Read + Send>,
        log: &Path,
    ) -> Result<Self> {
        let child = Arc::new(Mutex::new(child));
        register(&child);
        Ok(Self {
            child,
            input,
            output: hear(output),
            watcher: Watcher::default(),
            log: create(log)?,
            started: Instant::now(),
            clean_up: None,
            pace: None,
        })
    }

    /// The same machine, with its serial line here.
    #[must_use]
    pub fn with_line(mut self, input: Box<dyn Write + Send>, output: Box<dyn Read + Send>) -> Self {
        self.input = input;
        self.output = hear(output);
        self
    }

    /// Long lines go out in small pieces with this time between: terminals drop what
    /// they have no room for, and inside an emulated host nobody is quick to read.
    #[must_use]
    pub fn with_pace(mut self, pause: Duration) -> Self {
        self.pace = Some(pause);
        self
    }

    /// Runs `command` once the process is gone.
    #[must_use]
    pub fn clean_up_by(mut self, command: Command) -> Self {
        self.clean_up = Some(command);
        self
    }

    /// How long the machine has been running.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// From now on the console goes to another log file.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn log_to(&mut self, path: &Path) -> Result<()> {
        self.log = create(path)?;
        Ok(())
    }

    /// Sends bytes to the guest.
    ///
    /// # Errors
    /// If the machine is gone.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let Some(pause) = self.pace else {
            self.input.write_all(bytes)?;
            return self.input.flush();
        };
        for chunk in bytes.chunks(CHUNK) {
            self.input.write_all(chunk)?;
            self.input.flush()?;
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// What the console says next. `Ok(None)` if it says nothing for `wait`.
    ///
    /// # Errors
    /// [`Gone`] if the machine has ended.
    pub fn listen(&mut self, wait: Duration) -> Result<Option<Vec<Event>>, Gone> {
        match self.output.recv_timeout(wait) {
            Ok(bytes) => {
                // A log that cannot be written must not stop the test it is for.
                let _ = self.log.write_all(&bytes);
                Ok(Some(self.watcher.feed(&bytes)))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Gone),
        }
    }

    /// The kernel's lines so far.
    #[must_use]
    pub fn text(&self) -> &[String] {
        self.watcher.text()
    }

    /// Waits until the machine ends by itself; false if it is still there after `limit`.
    pub fn wait_for_end(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.listen(left.min(Duration::from_millis(100))) {
                Err(Gone) => return true,
                Ok(_) if left.is_zero() => return false,
                Ok(_) => {}
            }
        }
    }
}

/// The machine has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl Drop for Machine {
    fn drop(&mut self) {
        end(&self.child);
        if let Some(mut command) = self.clean_up.take() {
            // A machine that ended well has left nothing to clean up.
            let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|one| !Arc::ptr_eq(one, &self.child));
    }
}

/// Starts a process whose standard error goes to a file beside `log`.
///
/// # Errors
/// If the program is not there.
pub fn spawn(command: &mut Command, log: &Path) -> Result<Child> {
    let errors = create(&log.with_extension("stderr"))?;
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .stderr(errors)
        .spawn()
        .with_context(|| format!("could not start {program}"))
}

fn create(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("could not make {}", folder.display()))?;
    }
    File::create(path).with_context(|| format!("could not write {}", path.display()))
}

fn end(child: &SharedChild) {
    let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
    // Fails only if the process has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

fn register(child: &SharedChild) {
    HANDLER.call_once(|| {
        let handled = ctrlc::set_handler(|| {
            for child in RUNNING
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
            {
                end(child);
            }
            std::process::exit(INTERRUPTED);
        });
        if let Err(error) = handled {
            log::warn!("Ctrl-C may leave a machine running: {error}");
        }
    });
    RUNNING
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(Arc::clone(child));
}

/// What comes from `from`, read by a thread of its own.
fn hear(from: Box<dyn Read + Send>) -> Receiver<Vec<u8>> {
    let (to, output) = channel();
    std::thread::spawn(move || pump(from, &to));
    output
}

fn pump(mut from: Box<dyn Read + Send>, to: &Sender<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(got) = from.read(&mut buffer) {
        if got == 0 || to.send(buffer[..got].to_vec()).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (tempfile::TempDir, Machine) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let machine = Machine::start(&mut command, &folder.path().join("console.log")).unwrap();
        (folder, machine)
    }

    #[test]
    fn what_the_guest_says_is_heard_and_logged() {
        let (folder, mut machine) = shell("echo 'panic: test'");
        let mut events = Vec::new();
        while let Ok(more) = machine.listen(Duration::from_secs(10)) {
            events.extend(more.unwrap_or_default());
        }
        assert!(matches!(events.as_slice(), [Event::Alarm(_)]), "{events:?}");
        let log = std::fs::read_to_string(folder.path().join("console.log")).unwrap();
        assert_eq!(log, "panic: test\n");
    }

    #[test]
    fn a_dropped_machine_leaves_no_process() {
        let (_folder, mut machine) = shell("echo $$; exec sleep 600");
        machine.listen(Duration::from_secs(10)).unwrap();
        let pid = machine.text()[0].clone();
        let alive = || {
            Command::new("kill")
                .args(["-0", &pid])
                .stderr(Stdio::null())
                .status()
                .unwrap()
                .success()
        };
        assert!(alive());
        drop(machine);
        assert!(!alive());
    }

    #[test]
    fn the_end_of_the_machine_is_noticed() {
        let (_folder, mut machine) = shell("exit 0");
        assert!(machine.wait_for_end(Duration::from_secs(10)));
        let (_folder, mut machine) = shell("exec sleep 600");
        assert!(!machine.wait_for_end(Duration::from_millis(10)));
    }
}
