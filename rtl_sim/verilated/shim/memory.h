// Device memory as the fabric's AXI4 master sees it: a table of windows, each a range of device
// addresses backed by host memory. Everything outside is a bus error. Windows belong to the host
// and are no part of a snapshot: their contents are the buffers.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

namespace haltere {

struct Window {  // the C ABI's layout
    std::uint64_t base;
    std::uint64_t size;  // a multiple of the 8-byte beat
    std::uint8_t* host;
};

class Memory {
public:
    void set(const Window* windows, std::size_t count) {
        m_windows.assign(windows, windows + count);
        std::sort(m_windows.begin(), m_windows.end(),
                  [](const Window& a, const Window& b) { return a.base < b.base; });
        m_last = 0;
    }

    // Host address of [address, address + size), or null unless one window holds all of it.
    std::uint8_t* find(std::uint64_t address, std::uint64_t size) {
        if (m_last < m_windows.size() && holds(m_windows[m_last], address, size)) {
            return m_windows[m_last].host + (address - m_windows[m_last].base);
        }
        const auto after = std::upper_bound(
            m_windows.begin(), m_windows.end(), address,
            [](std::uint64_t value, const Window& window) { return value < window.base; });
        if (after == m_windows.begin()) return nullptr;
        const auto found = after - 1;
        if (!holds(*found, address, size)) return nullptr;
        m_last = static_cast<std::size_t>(found - m_windows.begin());
        return found->host + (address - found->base);
    }

private:
    static bool holds(const Window& window, std::uint64_t address, std::uint64_t size) {
        const std::uint64_t offset = address - window.base;  // wraps when below: then too large
        return offset < window.size && size <= window.size - offset;
    }

    std::vector<Window> m_windows;
    std::size_t m_last = 0;  // bursts are local: a hint, never part of the behaviour
};

}  // namespace haltere
