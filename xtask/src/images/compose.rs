//! Which images the compose file names.

use crate::run::root;
use anyhow::{Context as _, Result, bail};

/// A third-party image, of which a stand-in can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) repository: String,
    pub(super) tag: String,
}

impl Image {
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }

    /// The version of the program in it: `2.15.1` of `2.15.1-alpine`, `3.5.0` of `v3.5.0`.
    pub(super) fn version(&self) -> &str {
        let version = self.tag.split('-').next().unwrap_or_default();
        version.strip_prefix('v').unwrap_or(version)
    }
}

/// All images of the compose file, each once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Images {
    pub(super) elanus: String,
    pub(super) third_party: Vec<Image>,
}

pub(super) fn images() -> Result<Images> {
    let file = root().join("deploy/docker-compose.yml");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    read(&text).with_context(|| format!("in {}", file.display()))
}

/// Lines `image: NAME`; that is all that has to be understood here.
fn read(text: &str) -> Result<Images> {
    let mut found = Images { elanus: String::new(), third_party: Vec::new() };
    for name in text.lines().filter_map(|line| line.trim().strip_prefix("image: ")) {
        // `${ELANUS_IMAGE:-elanus:0.1.0}`: the default.
        if let Some(default) = name.strip_prefix("${ELANUS_IMAGE:-").and_then(|rest| rest.strip_suffix('}')) {
            default.clone_into(&mut found.elanus);
            continue;
        }
        let Some((repository, tag)) = name.split_once(':').filter(|(_, tag)| !tag.is_empty()) else {
            bail!("the image {name} has no tag: pin its version");
        };
        let image = Image { repository: repository.to_owned(), tag: tag.to_owned() };
        if !found.third_party.contains(&image) {
            found.third_party.push(image);
        }
    }
    if found.elanus.is_empty() {
        bail!("no image is ${{ELANUS_IMAGE:-NAME:TAG}}");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_found_once_and_has_a_version() {
        let text =
            "a:\n  image: ${ELANUS_IMAGE:-elanus:1}\nb:\n  image: x/y:v2.1-alpine\nc:\n    image: x/y:v2.1-alpine\n";
        let found = read(text).unwrap();
        assert_eq!((found.elanus.as_str(), found.third_party.len()), ("elanus:1", 1));
        assert_eq!((found.third_party[0].name().as_str(), found.third_party[0].version()), ("x/y:v2.1-alpine", "2.1"));
    }

    #[test]
    fn an_image_without_a_version_is_refused() {
        for bad in [
            "image: ${ELANUS_IMAGE:-e:1}\nimage: nats",
            "image: ${ELANUS_IMAGE:-e:1}\nimage: nats:",
            "image: nats:1",
            "",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_image_of_elanus_has_the_version_of_the_program() {
        assert_eq!(images().unwrap().elanus, format!("elanus:{}", env!("CARGO_PKG_VERSION")));
    }
}
