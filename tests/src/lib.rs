//! What the tests share: programs that are killed, logs of what was acknowledged, and the stores they run on.

pub mod aged;
pub mod chance;
pub mod damage;
pub mod faulty;
pub mod faulty_disk;
pub mod fuzz;
pub mod gate;
pub mod history;
pub mod home;
pub mod http;
pub mod kill;
pub mod latch;
pub mod linear;
pub mod load;
pub mod made;
pub mod play;
pub mod process;
pub mod reporter;
pub mod shown;
pub mod simdisk;
pub mod soak;
pub mod steer;
pub mod tables;
pub mod tree;
pub mod world;
