use convoke::Service;

#[derive(Service)]
#[service(default, name = "orders")]
struct Orders {
    #[service(defualt)]
    store: String,
    #[service(default = 5)]
    placed: u64,
    #[service(default, default)]
    cancelled: u64,
    #[service = "default"]
    returned: u64,
}

fn main() {}
