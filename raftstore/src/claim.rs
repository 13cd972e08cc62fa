//! Whose a data directory is. Starting a member on another member's data would make it vote twice, so the directory says
//! which member of which cluster it belongs to.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::error::Error;
use crate::options::Options;

const FILE: &str = "member";

/// Takes the directory for this member, or refuses if it is another's.
pub fn claim(directory: &Path, options: &Options) -> Result<(), Error> {
    let mine = format!("cluster {:016x}\nmember {:016x}\n", options.cluster_id(), options.id);
    let path = directory.join(FILE);
    let shown = path.display();
    match std::fs::read_to_string(&path) {
        Ok(found) if found == mine => Ok(()),
        Ok(found) => Err(Error::fault(format!(
            "{shown} says that this directory belongs to {}, but this is {}; start it with its own data directory",
            found.trim().replace('\n', ", "),
            mine.trim().replace('\n', ", "),
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write(directory, &path, &mine).map_err(|error| Error::fault(format!("cannot write {shown}: {error}")))
        }
        Err(error) => Err(Error::fault(format!("cannot read {shown}: {error}"))),
    }
}

fn write(directory: &Path, path: &Path, content: &str) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let draft = path.with_extension("new");
    let mut file = File::create(&draft)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_refused_to_another_member_and_another_cluster() {
        let directory = tempfile::tempdir().unwrap();
        let options = |id, token| Options::new(id, token, Vec::new());
        claim(directory.path(), &options(1, "a")).unwrap();
        claim(directory.path(), &options(1, "a")).unwrap();
        assert!(claim(directory.path(), &options(2, "a")).is_err());
        assert!(claim(directory.path(), &options(1, "b")).is_err());
    }
}
