// run MODEL INPUT OUTPUT SIZE...: the first output of a model for one float32 input of these sizes, both as raw bytes.
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <opencv2/dnn.hpp>
#include <vector>

int main(int count, char** words) {
  if (count < 5) {
    std::cerr << "usage: run MODEL INPUT OUTPUT SIZE...\n";
    return 2;
  }
  std::vector<int> sizes;
  for (int i = 4; i < count; ++i) sizes.push_back(std::atoi(words[i]));
  try {
    cv::Mat input(static_cast<int>(sizes.size()), sizes.data(), CV_32F);
    std::ifstream file(words[2], std::ios::binary);
    if (!file.read(reinterpret_cast<char*>(input.data), static_cast<std::streamsize>(input.total() * sizeof(float)))) {
      std::cerr << words[2] << ": too short\n";
      return 2;
    }
    cv::dnn::Net network = cv::dnn::readNetFromONNX(words[1]);
    network.setInput(input);
    const cv::Mat made = network.forward().clone();
    std::ofstream(words[3], std::ios::binary)
        .write(reinterpret_cast<const char*>(made.data), static_cast<std::streamsize>(made.total() * sizeof(float)));
    for (int d = 0; d < made.dims; ++d) std::cout << made.size[d] << (d + 1 < made.dims ? " " : "\n");
  } catch (const cv::Exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
