//! What the process takes, every few seconds, and the line through it.

use std::io;
use std::path::Path;

/// What was measured at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Seconds since the beginning.
    pub at_s: f64,
    /// Resident memory in MiB.
    pub resident: f64,
    /// Size of the file in MiB.
    pub file: f64,
    /// Open descriptors.
    pub descriptors: f64,
}

/// Bytes of a MiB.
pub const MIB: f64 = 1_048_576.0;
/// The size of a page of memory on the systems that have `/proc`, as far as these tests go.
const PAGE_BYTES: f64 = 4096.0;

impl Sample {
    /// Looks at this process and at the file.
    ///
    /// # Errors
    /// There is no `/proc`, or no file.
    pub fn take(at_s: f64, file: &Path) -> io::Result<Sample> {
        let statm = std::fs::read_to_string("/proc/self/statm")?;
        let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
        let pages: f64 = pages.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Sample {
            at_s,
            resident: pages * PAGE_BYTES / MIB,
            file: std::fs::metadata(file)?.len() as f64 / MIB,
            descriptors: std::fs::read_dir("/proc/self/fd")?.count() as f64,
        })
    }
}

/// The line through points by least squares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// The mean of what was measured.
    pub mean: f64,
    /// How much it grows in an hour.
    pub per_hour: f64,
}

/// The line through the second half of the samples; `None` of fewer than four.
pub fn line(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> Option<Line> {
    let half = &samples[samples.len() / 2..];
    if half.len() < 2 {
        return None;
    }
    let count = half.len() as f64;
    let mean_at = half.iter().map(|sample| sample.at_s).sum::<f64>() / count;
    let mean = half.iter().map(&of).sum::<f64>() / count;
    let (mut both, mut square) = (0.0, 0.0);
    for sample in half {
        let at = sample.at_s - mean_at;
        both += at * (of(sample) - mean);
        square += at * at;
    }
    let per_hour = 3600.0 * both / square;
    Some(Line { mean, per_hour })
}

#[cfg(test)]
mod tests {
    use super::{Line, Sample, line};

    #[test]
    fn the_line_goes_through_the_second_half_alone() {
        let sample = |second: u32| Sample {
            at_s: f64::from(second),
            // It jumps in the first half, and grows by 2 a second in the second one.
            resident: if second < 5 {
                1000.0
            } else {
                f64::from(second) * 2.0
            },
            file: 0.0,
            descriptors: 7.0,
        };
        let samples: Vec<Sample> = (0..10).map(sample).collect();
        let grows = line(&samples, |sample| sample.resident).expect("enough samples");
        assert!((grows.per_hour - 7200.0).abs() < 1e-6, "{grows:?}");
        let stays = line(&samples, |sample| sample.descriptors).expect("enough samples");
        assert_eq!(
            stays,
            Line {
                mean: 7.0,
                per_hour: 0.0
            }
        );
        assert!(line(&samples[..2], |sample| sample.file).is_none());
    }
}
