// What the files about images share.
#pragma once

#include "memory.hpp"

namespace haltere {

std::size_t pixel_bytes(const cl_image_format& format);  // 0: not a format

// Origin and region inside the image, none of them empty. Throws Failure.
void check_box(cl_mem image, const std::size_t* origin, const std::size_t* region);

// How pixels of a region lie in host memory; pitches of 0 mean packed. Throws Failure.
Spread image_spread(cl_mem image, const std::size_t* region, std::size_t row, std::size_t slice, void* host);

Number write_pixels(Session& session, std::uint64_t image, std::size_t pixel, const std::size_t (&origin)[3], const Spread& host);
Number read_pixels(Session& session, std::uint64_t image, std::size_t pixel, const std::size_t (&origin)[3], const Spread& host);

}  // namespace haltere
