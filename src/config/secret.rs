//! What is kept in the data folder, for nobody else to read.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{MIN_SECRET_BYTES, StartError, refuse};

/// The secret in the data folder, made at the first start.
pub fn development_secret(data_dir: &Path) -> Result<Vec<u8>, StartError> {
    let path = data_dir.join("jwt-secret");
    match std::fs::read(&path) {
        Ok(secret) if secret.len() >= MIN_SECRET_BYTES => return Ok(secret),
        Ok(_) => return refuse(format!("{} holds less than 32 bytes; delete it", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return refuse(format!("{}: {error}", path.display())),
    }
    let mut random = [0_u8; MIN_SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| StartError("The system gives no random bytes".to_owned()))?;
    let secret = URL_SAFE_NO_PAD.encode(random).into_bytes();
    write_private(&path, &secret).map_err(|error| StartError(format!("{}: {error}", path.display())))?;
    Ok(secret)
}

/// Makes the data folder, if it is not there.
pub fn create_private_dir(path: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| StartError(format!("HAGGLE_DATA_DIR {}: {error}", path.display())))
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
