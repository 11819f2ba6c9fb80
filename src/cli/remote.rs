//! How a verb reaches a running Switchback: URL, token, certificates, and a runtime for one conversation.
//!
//! Apart because all remote verbs take the same options and none knows tokio.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use tokio::runtime::Builder;

use super::tree::RemoteArgs;
use crate::admin::AdminClient;
use crate::tls::ClientSettings;

impl RemoteArgs {
    /// A client with the operator's token and certificates, as far as files were named.
    pub(super) fn client(&self) -> anyhow::Result<AdminClient> {
        let token = self.token_file.as_deref().map(token).transpose()?;
        let client = AdminClient::new(&self.admin, token.as_deref())?;
        let certificates = ClientSettings {
            ca_file: self.ca_file.clone(),
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
        };
        if certificates == ClientSettings::default() {
            return Ok(client);
        }
        Ok(client.with_certificates(&certificates)?)
    }
}

/// Waits for one conversation.
pub(super) fn talk<T>(
    conversation: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.context("no runtime to talk to the admin API with")?.block_on(conversation)
}

fn token(file: &Path) -> anyhow::Result<String> {
    let named = || format!("--token-file {}", file.display());
    let mut text = String::new();
    let opened = File::open(file).with_context(named)?;
    opened.take(TOKEN_BYTES + 1).read_to_string(&mut text).with_context(named)?;
    if text.len() as u64 > TOKEN_BYTES {
        bail!("{}: more than {TOKEN_BYTES} bytes are no token", named());
    }
    let token = text.trim();
    if token.is_empty() {
        bail!("{}: the file is empty", named());
    }
    Ok(token.to_owned())
}

/// The longest token, in bytes.
const TOKEN_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::token;

    #[test]
    fn a_token_file_that_holds_none_is_named() {
        let said = format!("{:#}", token(Path::new("/nowhere/token")).unwrap_err());
        assert!(said.starts_with("--token-file /nowhere/token: "), "{said}");
        let said = format!("{:#}", token(Path::new("/dev/null")).unwrap_err());
        assert_eq!(said, "--token-file /dev/null: the file is empty");
        assert!(token(Path::new("/dev/zero")).is_err());
    }
}
