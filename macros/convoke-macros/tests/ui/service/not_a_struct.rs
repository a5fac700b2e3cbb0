use convoke::Service;

#[derive(Service)]
enum Either {
    One,
}

#[derive(Service)]
union Both {
    small: u8,
    large: u64,
}

fn main() {}
