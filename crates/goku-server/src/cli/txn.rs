//! `goku txn`.

mod form;

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use goku::Client;

use crate::cli::connection::Connection;
use crate::exit::{Failure, Outcome};
use crate::output::Output;

/// The longest form in bytes: a transaction has at most 4 MiB, and JSON may write each byte as `\u0000`.
const FORM_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// The part of `--help` about the form; the example is complete and is run by the tests.
const FORM_HELP: &str = r#"The form is one JSON object. Where every comparison holds, the operations of
`then` are done, else those of `else`: all of them, or none where one fails. All
comparisons see the state before; operations see earlier ones.

compare   {"key": K, TARGET, "is": RELATION}; RELATION is = (also where it is left
          out), !=, < or >. TARGET is one of "exists": true|false, "version": N,
          "value": TEXT, "value_base64": BYTES, "lease": ID, "created_ref": N,
          "ref": N; a key that does not exist has 0 in their place
then,     {"get": {"key": K}}
else      {"set": {"key": K, "value": TEXT}}, with these beside them as wanted:
            "value_base64": BYTES in the place of "value"; "lease": ID;
            "ttl": "10s", "expires_at": "2030-01-31T12:00:00Z" or
            "no_expiry": true, else a key keeps the time to live that it has;
            "if_version": N, "if_ref": N, "if_absent": true
          {"delete": {"key": K}}, with "if_version": N or "if_ref": N
          {"list": {"prefix": P}}, with "start": K, "limit": N, "keys_only": true

Example: take a job if nobody has it, else show who does.

  goku txn <<'END'
  {
    "compare": [
      {"key": "jobs/1/owner", "exists": false},
      {"key": "jobs/1/attempts", "is": "<", "version": 5}
    ],
    "then": [
      {"set": {"key": "jobs/1/owner", "value": "worker-7", "ttl": "30s",
               "if_absent": true}},
      {"set": {"key": "jobs/1/attempts", "value_base64": "AAE="}},
      {"delete": {"key": "jobs/1/error"}},
      {"list": {"prefix": "jobs/1/", "limit": 10, "keys_only": true}}
    ],
    "else": [
      {"get": {"key": "jobs/1/owner"}}
    ]
  }
  END

Text output is a line that says `then` or `else`, then one line for each operation
and listed key. The exit code is 0 where `then` was done, 4 where `else` was."#;

/// Compare keys, then read and write several of them, decided in one go
#[derive(Debug, Args)]
#[command(after_help = FORM_HELP)]
pub(super) struct Txn {
    /// The file to read the form from; standard input where it is not given, or `-`
    file: Option<PathBuf>,
}

impl Txn {
    pub(super) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let txn =
            form::parse(&self.read()?).map_err(|message| Failure::Input(format!("{}: {message}", self.name())))?;
        let answer = connection.client()?.txn(txn).await?;
        output.txn(&answer)?;
        if answer.succeeded {
            return Ok(());
        }
        output.flush()?;
        Err(Failure::NotSucceeded)
    }

    fn read(&self) -> Result<Vec<u8>, Failure> {
        let mut form = Vec::new();
        // One byte over the limit is enough to be refused.
        let limit = FORM_BYTES_MAX + 1;
        let read = match self.path() {
            None => std::io::stdin().lock().take(limit).read_to_end(&mut form),
            Some(path) => std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut form)),
        };
        let read = read.map_err(|error| Failure::Input(format!("cannot read {}: {error}", self.name())))?;
        if read as u64 > FORM_BYTES_MAX {
            let message = format!(
                "{}: a form has at most {FORM_BYTES_MAX} bytes, this one has more than {FORM_BYTES_MAX} bytes",
                self.name()
            );
            return Err(Failure::Input(message));
        }
        Ok(form)
    }

    fn path(&self) -> Option<&PathBuf> {
        self.file.as_ref().filter(|path| path.as_os_str() != "-")
    }

    fn name(&self) -> String {
        self.path()
            .map_or_else(|| "standard input".to_string(), |path| path.display().to_string())
    }
}
