//! Any bytes as the file of a kept answer, with its digest as it is or made right: what is
//! read is written again as the same answer.

use switchback::cache::door::rewritten;

use super::choice;

pub(super) fn body(data: &[u8]) {
    let (what, rest) = choice(data, 2);
    let mut file = rest.to_vec();
    if what == 1 {
        file.extend_from_slice(blake3::hash(rest).as_bytes());
    }
    let Some(once) = rewritten(&file) else { return };
    let twice = rewritten(&once);
    assert_eq!(twice.as_ref(), Some(&once), "it is another answer");
    // Fields that may not be kept are left out, and nothing is made up.
    assert!(once.len() <= file.len(), "{} of {} bytes", once.len(), file.len());
}
