// Keeps objects for ever: requests of a class with virtual functions on "grow BYTES", and structures that hold
// a pointer to a function on "hook BYTES".
#include <iostream>
#include <memory>
#include <string>
#include <vector>

namespace shop {
class Request {
public:
    virtual ~Request() = default;
    virtual int size() const { return sizeof body; }

private:
    char body[232] = {};
};
}  // namespace shop

struct Hook {
    void (*call)(int);
    char context[248];
};

static std::vector<std::unique_ptr<shop::Request>> requests;
static std::vector<Hook *> hooks;

void on_timeout(int count) { std::cout << count << std::endl; }

int main()
{
    std::string word;
    long bytes;

    std::cout << "ready" << std::endl;
    while (std::cin >> word >> bytes) {
        for (; bytes > 0; bytes -= 256) {
            if (word == "grow")
                requests.push_back(std::make_unique<shop::Request>());
            else
                hooks.push_back(new Hook{on_timeout, {}});
        }
        std::cout << "grown" << std::endl;
    }
}
