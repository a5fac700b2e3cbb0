use convoke::Command;

#[derive(Clone, Copy, Command)]
#[command(name = "store.put.v1")]
union Either {
    small: u8,
    large: u64,
}

fn main() {}
